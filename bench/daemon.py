"""A daemon of its own for a benchmark, on a store that goes with it."""
import contextlib
import pathlib
import subprocess
import tempfile
import time


@contextlib.contextmanager
def daemon(build, *options):
    """Yields the address of a zood of the build directory `build`."""
    with tempfile.TemporaryDirectory(prefix="zood-bench-") as folder:
        ready = pathlib.Path(folder, "ready")
        process = subprocess.Popen(
            [pathlib.Path(build, "server/zood"), "serve", "--data-dir", f"{folder}/data",
             "--port", "0", "--http-port", "-1", "--ready-file", ready, "--log-level", "warning",
             *options])
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise SystemExit("zood did not start")
                time.sleep(0.05)
            yield "127.0.0.1:" + ready.read_text().split()[0].removeprefix("grpc=")
        finally:
            process.terminate()
            process.wait()
