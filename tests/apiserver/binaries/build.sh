#!/bin/sh
# Build the programs that the tests run beside Trunkline from source: the Kubernetes binaries, Helm, CoreDNS, kubeconform.
#
#   tests/apiserver/binaries/build.sh                  etcd, kubectl and kube-apiserver; the last line of stdout is
#                                                      the directory that holds the three
#   tests/apiserver/binaries/build.sh helm kubelet …   these; one absolute path per line of stdout, in that order
#
# Names: etcd kubectl kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy (versions of the go.mod
# beside this file), helm coredns kubeconform (versions below). Only what is missing is built. Cold, on two cores, the
# first three take about four minutes, all ten about eight; a warm call is instant.
#
#   KUBEBUILDER_ASSETS   a directory of ready-made binaries: what is in it is taken from it and not built
#   TRUNKLINE_CACHE      where binaries are kept; default ${XDG_CACHE_HOME:-$HOME/.cache}/trunkline
#
# Exit codes: 0 ready; 2 there is no such name; 3 neither the binaries nor Go are here; anything else is the failed
# build's own.
set -eu

if [ $# -eq 0 ] && [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    echo "$KUBEBUILDER_ASSETS"
    exit 0
fi

helm=v3.22.0
coredns=v1.15.0
kubeconform=v0.8.0

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=$(sed -n 's|^.*k8s\.io/kubernetes \(v[0-9][^ ]*\).*$|\1|p' "$here/go.mod")
cache=${TRUNKLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trunkline}
assets=$cache/kubebuilder/$version

unfinished=
trap '[ -z "$unfinished" ] || rm -rf "$unfinished"' EXIT
trap 'exit 130' INT TERM HUP

# Without these the servers call themselves v0.0.0-master, and version-skew checks of their clients fail.
kubernetes_ldflags() {
    major=$(echo "$version" | sed 's|^v\([0-9]*\)\..*|\1|')
    minor=$(echo "$version" | sed 's|^v[0-9]*\.\([0-9]*\)\..*|\1|')
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf ' -X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s' \
            "$package" "$version" "$package" "$major" "$package" "$minor"
    done
}

need_go() {
    command -v go >/dev/null 2>&1 && return
    if [ "$1" = kubernetes ]; then
        echo "no Kubernetes API server: install Go 1.24 or newer (https://go.dev/dl/)," \
            "or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kubectl" >&2
    else
        echo "no $1: install Go 1.24 or newer (https://go.dev/dl/), with which it is built from source" >&2
    fi
    exit 3
}

# Of our own go.mod. Renamed only when whole, so an interrupted or concurrent build never leaves half a binary behind.
build_kubernetes() { # NAME
    [ ! -x "$assets/$1" ] || return 0
    need_go kubernetes
    case $1 in
        etcd) package=go.etcd.io/etcd/server/v3 ;;
        *) package=k8s.io/kubernetes/cmd/$1 ;;
    esac
    echo "building $1 for Kubernetes $version into $assets" >&2
    mkdir -p "$assets"
    unfinished=$assets/.$1.$$
    (cd "$here" && CGO_ENABLED=0 GOWORK=off GOFLAGS='' go build -mod=readonly -trimpath \
        -ldflags "-s -w$(kubernetes_ldflags)" -o "$unfinished" "$package" >&2)
    mv -f "$unfinished" "$assets/$1"
    unfinished=
}

# A Helm without these takes every cluster for a Kubernetes 1.20 while it has none to ask, and `kubeVersion` fails.
helm_ldflags() {
    major=$(echo "$version" | sed 's|^v\([0-9]*\)\..*|\1|')
    minor=$(echo "$version" | sed 's|^v[0-9]*\.\([0-9]*\)\..*|\1|')
    for package in helm.sh/helm/v3/pkg/chartutil helm.sh/helm/v3/pkg/lint/rules; do
        printf ' -X %s.k8sVersionMajor=%s -X %s.k8sVersionMinor=%s' "$package" "$major" "$package" "$minor"
    done
}

# A module's own command, at the versions of its own go.mod.
build_module() { # NAME VERSION PACKAGE [LDFLAGS] [MORE]
    directory=$cache/bin/$1-$2${5:-}
    [ ! -x "$directory/$1" ] || return 0
    need_go "$1"
    echo "building $1 $2 into $directory" >&2
    mkdir -p "$directory"
    unfinished=$directory/.$$
    CGO_ENABLED=0 GOWORK=off GOFLAGS='' GOBIN=$unfinished go install -trimpath -ldflags "-s -w${4:-}" "$3@$2" >&2
    mv -f "$unfinished/$1" "$directory/$1"
    rm -rf "$unfinished"
    unfinished=
}

[ $# -gt 0 ] && names=$* || names='etcd kubectl kube-apiserver'
paths=
for name in $names; do
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ]; then
        paths="$paths$KUBEBUILDER_ASSETS/$name
"
        continue
    fi
    case $name in
        etcd | kubectl | kube-apiserver | kube-controller-manager | kube-scheduler | kubelet | kube-proxy)
            build_kubernetes "$name"
            path=$assets/$name
            ;;
        helm)
            build_module helm $helm helm.sh/helm/v3/cmd/helm "$(helm_ldflags)" "-kubernetes-$version"
            path=$cache/bin/helm-$helm-kubernetes-$version/helm
            ;;
        coredns)
            build_module coredns $coredns github.com/coredns/coredns
            path=$cache/bin/coredns-$coredns/coredns
            ;;
        kubeconform)
            build_module kubeconform $kubeconform github.com/yannh/kubeconform/cmd/kubeconform
            path=$cache/bin/kubeconform-$kubeconform/kubeconform
            ;;
        *)
            echo "build.sh does not know $name" >&2
            exit 2
            ;;
    esac
    paths="$paths$path
"
done

if [ $# -eq 0 ]; then
    echo "$assets"
else
    printf %s "$paths"
fi
