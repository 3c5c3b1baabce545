# Sourced by scripts/chain and scripts/reproduce_bundled, from the top of the repository: the parts they share.
# shellcheck shell=bash

# A Python that has xrarchive: XRARCHIVE_PYTHON, else that of .venv, set up if needed.
python=${XRARCHIVE_PYTHON:-}
if [ -z "$python" ]; then
    scripts/setup
    python=$PWD/.venv/bin/python
fi
tests=$PWD/tests/hub

# Networks as small as these gain little from more threads, and lose a lot on a machine that is busy.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

hubs=()
temporary=
tidy() {
    [ ${#hubs[@]} = 0 ] || kill "${hubs[@]}" 2>/dev/null || true
    [ -z "$temporary" ] || rm -rf "$temporary"
}
trap tidy EXIT

work_in() { # go to a folder, or to a temporary one that is removed at the end
    if [ -z "$1" ]; then
        temporary=$(mktemp -d)
    fi
    mkdir -p "${1:-$temporary}"
    cd "${1:-$temporary}"
}

step() { # run a command, after showing it and before saying how long it took
    local start=$SECONDS code=0
    printf '\n$ %s\n' "$*"
    "$@" || code=$?
    printf '(%s s)\n' $((SECONDS - start))
    return $code
}
xrarchive() { "$python" -m xrarchive "$@"; }

start_hub() { # start a fresh Hub on this machine, in a folder; from here on it is the one that is talked to
    rm -rf "$1"
    mkdir -p "$1"
    "$python" "$tests/run_loopback.py" "$1" "$1/url" &
    hubs+=($!)
    until [ -s "$1/url" ]; do
        kill -0 $!
        sleep 0.1
    done
    HF_ENDPOINT=$(cat "$1/url")
    export HF_ENDPOINT HF_TOKEN=hf_CANARYwrite HF_HOME=$PWD/$1/hf-home HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_XET=1
    export HF_HUB_DISABLE_PROGRESS_BARS=1
}

load() { # a published version, by its tag, and what `datasets` makes of it against the archive here: ARCHIVE REPO TAG
    "$python" "$tests/load_by_tag.py" "$@"
}
