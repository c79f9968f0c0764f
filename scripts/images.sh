#!/usr/bin/env bash
# Build the images of the Dockerfile into build/images/{operator,gateway,all-in-one}.tar (docker-archive).
#
# With docker where a daemon answers, else with buildah as root, which needs no daemon and no registry. Nothing is
# installed. Layers are cached, and where nothing has changed nothing is done.
#
#   BASE=IMAGE            the base image; default: what the Dockerfile says. Where no registry can be reached, one is made of
#                         Debian packages with mmdebstrap and kept under the cache folder
#   TRUNKLINE_CACHE=DIR   default: ~/.cache/trunkline
#   FORCE=1               build even if nothing has changed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=(operator gateway all-in-one)
out=build/images
most_megabytes=12000
cache=${TRUNKLINE_CACHE:-$HOME/.cache/trunkline}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
created=$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo 1970-01-01T00:00:00Z)

say() { echo "images: $*" >&2; }
fail() { say "$*"; exit 1; }

image_of() {
    case $1 in
    all-in-one) echo "ghcr.io/trunkline/trunkline:$version" ;;
    *) echo "ghcr.io/trunkline/trunkline-$1:$version" ;;
    esac
}

# Copies what the images are made of, so that the three are made of the same even while somebody edits; sets `now`, its hash.
take_inputs() {
    context=$cache/images/context
    rm -rf "$context"
    mkdir -p "$context"
    tar --exclude=__pycache__ --exclude='*.pyc' --exclude='*.egg-info' -cf - Dockerfile .dockerignore LICENSE README.md \
        bootstrap.txt build.txt pyproject.toml uv.lock protocol operator gateway cli manifests/quickstart | tar -C "$context" -xf -
    now=$({
        echo "$version $revision $created $builder ${BASE:-}"
        sha256sum <scripts/images.sh
        cd "$context"
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d ' ' -f 1)
}

# Makes `buildah` speak to a store of ours, so that nobody's images are touched and one folder holds everything.
choose_builder() {
    if timeout 10 docker info >/dev/null 2>&1; then
        builder=docker
        return
    fi
    command -v buildah >/dev/null || fail "neither a docker daemon nor buildah is here (Debian: apt install buildah mmdebstrap)"
    [[ $(id -u) == 0 ]] || fail "buildah is used as root here; run as root, or start a docker daemon"
    builder=buildah
    export BUILDAH_ISOLATION=chroot
    # overlay shares layers on the disk; vfs copies them, and works everywhere.
    local driver=vfs
    if "${buildah[@]}" --storage-driver overlay info >/dev/null 2>&1; then driver=overlay; fi
    buildah+=(--storage-driver "$driver")
}

buildah=(buildah --root "$cache/images/root" --runroot "$cache/images/run")

# Sets BASE. That a registry is away is normal here; that a base was asked for and is away is not.
choose_base() {
    if [[ -n ${BASE:-} ]]; then return; fi
    local official
    official=$(sed -n 's/^ARG BASE=//p' Dockerfile)
    # What is in the store already is taken, so that one machine does not change its base from one build to the next.
    if in_store "$official" || { ! in_store "$(made_base)" && timeout 120 "${buildah[@]}" pull --quiet "$official"; } >/dev/null 2>&1; then
        BASE=$official
    else
        make_base
    fi
}

in_store() { "${buildah[@]}" inspect --type image "$1" >/dev/null 2>&1; }

# Debian with Python, for where there is no registry. The name is a hash of what it is made of.
suite=trixie
bootstrap=(
    --mode=root --variant=minbase --include=python3,python3-venv,ca-certificates
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
)

made_base() { echo "localhost/trunkline-base:$suite-$(echo "$suite ${bootstrap[*]}" | sha256sum | cut -c 1-12)"; }

make_base() {
    BASE=$(made_base)
    if in_store "$BASE"; then return; fi
    local tar=$cache/images/base-${BASE##*:}.tar
    if [[ ! -s $tar ]]; then
        command -v mmdebstrap >/dev/null \
            || fail "no registry can be reached, and mmdebstrap is not here to make a base image (apt install mmdebstrap)"
        say "no registry can be reached: making a base image of Debian $suite (once)"
        mmdebstrap --quiet "${bootstrap[@]}" "$suite" "$tar.part.tar" || fail "mmdebstrap could not make the base image"
        mv "$tar.part.tar" "$tar"
    fi
    local container
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$tar" / >/dev/null
    "${buildah[@]}" config --cmd python3 --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
    "${buildah[@]}" commit --quiet --rm "$container" "$BASE" >/dev/null
}

build_with_docker() {
    local base=()
    if [[ -n ${BASE:-} ]]; then base=(--build-arg "BASE=$BASE"); fi
    docker build --target "$1" --tag "$2" "${base[@]}" "${arguments[@]}" "$context"
    docker save --output "$3" "$2"
}

build_with_buildah() {
    # The machine's own authorities, for whoever sits behind a proxy that ends TLS; a mount leaves nothing in the image.
    local mounts=()
    if [[ -d /etc/ssl/certs ]]; then mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro); fi
    "${buildah[@]}" bud --quiet --layers --format docker --pull-never --network host "${mounts[@]}" \
        --target "$1" --tag "$2" --build-arg "BASE=$BASE" "${arguments[@]}" "$context" >/dev/null
    "${buildah[@]}" push --quiet "$2" "docker-archive:$3:$2"
}

[[ -n $version ]] || fail "pyproject.toml says no version"
mkdir -p "$out" "$cache/images"
echo '*' >build/.gitignore
exec 9>"$cache/images/lock"
flock 9
choose_builder
stamp=$out/.inputs
take_inputs
if [[ -z ${FORCE:-} && -f $stamp && $(<"$stamp") == "$now" ]]; then
    for target in "${targets[@]}"; do [[ -s $out/$target.tar ]] || rm -f "$stamp"; done
    if [[ -f $stamp ]]; then
        say "nothing has changed since $out was built"
        exit 0
    fi
fi
rm -f "$stamp"
if [[ -n $(git status --porcelain 2>/dev/null) ]]; then revision=$revision-dirty; fi
if [[ $builder == buildah ]]; then choose_base; fi
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created")
if [[ $builder == buildah && $(du -sm "$cache/images/root" 2>/dev/null | cut -f 1) -gt ${most_megabytes} ]]; then
    say "the store in $cache/images is over $most_megabytes MB: dropping the layers of earlier builds"
    "${buildah[@]}" rmi --prune --force >/dev/null
fi
say "building $version with $builder${BASE:+ on $BASE}"
for target in "${targets[@]}"; do
    image=$(image_of "$target")
    rm -f "$out/$target.part"
    "build_with_$builder" "$target" "$image" "$out/$target.part"
    mv "$out/$target.part" "$out/$target.tar"
    say "$image in $out/$target.tar ($(du -m "$out/$target.tar" | cut -f 1) MB)"
done
echo "$now" >"$stamp"
