#!/bin/sh
# Build etcd, kube-apiserver and kubectl from source for the tests that need a real Kubernetes API server.
#
#   tests/apiserver/binaries/build.sh
#
# The last line of stdout is the directory that holds the three binaries. Only what is missing is built, at the
# versions of the go.mod beside this file. A cold build takes about four minutes on two cores; a warm call is instant.
#
#   KUBEBUILDER_ASSETS   a directory of ready-made binaries: it is printed as it is and nothing is built
#   TRUNKLINE_CACHE      where binaries are kept; default ${XDG_CACHE_HOME:-$HOME/.cache}/trunkline
#
# Exit codes: 0 ready; 3 neither the binaries nor Go are here; anything else is the failed build's own.
set -eu

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    echo "$KUBEBUILDER_ASSETS"
    exit 0
fi

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=$(sed -n 's|^.*k8s\.io/kubernetes \(v[0-9][^ ]*\).*$|\1|p' "$here/go.mod")
cache=${TRUNKLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trunkline}
assets=$cache/kubebuilder/$version

missing=
for binary in etcd kubectl kube-apiserver; do
    [ -x "$assets/$binary" ] || missing="$missing $binary"
done

if [ -n "$missing" ]; then
    if ! command -v go >/dev/null 2>&1; then
        echo "no Kubernetes API server: install Go 1.24 or newer (https://go.dev/dl/)," \
            "or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kubectl" >&2
        exit 3
    fi

    # Without these the server calls itself v0.0.0-master, and version-skew checks of its clients fail.
    major=$(echo "$version" | sed 's|^v\([0-9]*\)\..*|\1|')
    minor=$(echo "$version" | sed 's|^v[0-9]*\.\([0-9]*\)\..*|\1|')
    ldflags="-s -w"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        ldflags="$ldflags -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    done

    mkdir -p "$assets"
    unfinished=
    trap '[ -z "$unfinished" ] || rm -f "$unfinished"' EXIT
    trap 'exit 130' INT TERM HUP
    cd "$here"
    for binary in $missing; do
        case $binary in
            etcd) package=go.etcd.io/etcd/server/v3 ;;
            *) package=k8s.io/kubernetes/cmd/$binary ;;
        esac
        echo "building $binary for Kubernetes $version into $assets" >&2
        # Renamed only when whole, so an interrupted or a concurrent build never leaves half a binary behind.
        unfinished=$assets/.$binary.$$
        CGO_ENABLED=0 GOWORK=off GOFLAGS='' go build -mod=readonly -trimpath -ldflags "$ldflags" -o "$unfinished" "$package" >&2
        mv -f "$unfinished" "$assets/$binary"
        unfinished=
    done
fi

echo "$assets"
