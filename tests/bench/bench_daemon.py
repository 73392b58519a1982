"""For benchmarks: a daemon in a network namespace of its own."""
import contextlib
import os
import pathlib
import subprocess
import time

BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"
NAME = f"hfscale{os.getpid()}"
PINS = f"/sys/fs/bpf/{NAME}"


def inside(*command):
    return run("ip", "netns", "exec", NAME, *command)


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextlib.contextmanager
def daemon(files):
    """The daemon, from when it answers."""
    holdfast = (BIN / "holdfast", "--socket", files / "socket")
    with (files / "log").open("w") as log:
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{NAME}", BIN / "holdfastd", "--config", files / "holdfast.yaml",
                                    "--socket", files / "socket", "--pin-dir", PINS, "--state-dir", files / "state"],
                                   stderr=log, stdout=log)
    try:
        while subprocess.run([*holdfast, "show", "counters"], capture_output=True).returncode:
            if process.poll() is not None:
                raise SystemExit((files / "log").read_text()[-2000:])
            time.sleep(0.01)
        yield holdfast, process
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(["nsenter", f"--net=/run/netns/{NAME}", BIN / "holdfastd", "--detach", "--pin-dir", PINS],
                       capture_output=True)
