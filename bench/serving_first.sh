#!/bin/sh
# Classify's latency on ResNet-50, idle and beside a job: bench/serving_first.sh BUILD-DIRECTORY [REQUESTS]
set -eu
build=$1
here=$(dirname "$0")
PYTHONPATH=$here exec python3 - "$build" "${2:-500}" <<'END'
import subprocess
import sys

from daemon import daemon

with daemon(sys.argv[1]) as address:
    sys.exit(subprocess.run([sys.argv[1] + "/bench/serving_first", address, sys.argv[2]]).returncode)
END
