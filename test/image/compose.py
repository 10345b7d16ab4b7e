#!/usr/bin/env python3
"""Runs the services of a compose file with buildah: no daemon, no privileges beyond root's.

    compose.py FOLDER CONFIG COMMAND OF BUILDAH...

CONFIG is what "docker-compose config" prints.  All services share this process's
network, where each has an address of its own, 127.0.0.2 and so on: a service that
listens only on 127.0.0.1 is not reached by its name, as it would not be in a container.
FOLDER gets the volumes and the output of each service.  Prints "ready" when every
service runs and those with a healthcheck are healthy.  From then on, a file NAME.off in
FOLDER stops a service until it is removed, as "docker compose stop NAME" and "start
NAME" do.  Ends them all on SIGTERM, or when one of them ends.
"""
import os
import signal
import subprocess
import sys
import time

import yaml

folder, config, *buildah = sys.argv[1:]
with open(config) as f:
    services = yaml.safe_load(f)["services"]
running = {}


def run(*arguments, **options):
    return subprocess.run([*buildah, *arguments], check=True, text=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, **options).stdout.strip()


def in_container(name, service, command):
    """The command line that runs a command in a service's container."""
    line = [*buildah, "run", "--isolation", "chroot"]
    for key, value in (service.get("environment") or {}).items():
        # docker-compose writes what is no variable that way
        line += ["--env", f"{key}={str(value).replace('$$', '$')}"]
    for volume in service.get("volumes") or []:
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            volume = {"source": source, "target": target, "read_only": mode == ["ro"]}
        source = volume["source"]
        if not source.startswith("/"):
            source = os.path.join(folder, source)
            os.makedirs(source, exist_ok=True)
        line += ["--volume", f"{source}:{volume['target']}" + (":ro" if volume.get("read_only") else "")]
    return [*line, name, "--", *command]


def create(name, service):
    hosts = [option for number, other in enumerate(services, 2) for option in ("--add-host", f"{other}:127.0.0.{number}")]
    run("from", "--name", name, "--pull-never", *hosts, service["image"])


def start(name, service):
    image = yaml.safe_load(run("inspect", "--type", "image", service["image"]))["OCIv1"]["config"]
    command = service.get("command") or image.get("Cmd") or []
    command = (service.get("entrypoint") or image.get("Entrypoint") or []) + \
        (command.split() if isinstance(command, str) else command)
    with open(os.path.join(folder, name + ".log"), "a") as log:
        running[name] = subprocess.Popen(in_container(name, service, command), stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def is_healthy(name, service):
    test = service["healthcheck"]["test"]
    command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
    return subprocess.run(in_container(name, service, command), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def check():
    for name, process in running.items():
        if process.poll() is not None:
            raise SystemExit(f"service {name} has ended, see {folder}/{name}.log")


def stop(*names):
    """Each in a group of its own: a supervisor of buildah, and what runs in the container."""
    processes = [running.pop(name) for name in names]
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    for process in processes:
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waiting = dict(services)
    try:
        while waiting:
            name = next(n for n, s in waiting.items() if not set(s.get("depends_on") or []) & set(waiting))
            service = waiting.pop(name)
            create(name, service)
            start(name, service)
            deadline = time.monotonic() + 120
            while "healthcheck" in service and not is_healthy(name, service):
                check()
                if time.monotonic() > deadline:
                    raise SystemExit(f"service {name} does not become healthy")
                time.sleep(0.5)
        print("ready", flush=True)
        while True:
            check()
            for name, service in services.items():
                off = os.path.exists(os.path.join(folder, name + ".off"))
                if off and name in running:
                    stop(name)
                elif not off and name not in running:
                    start(name, service)
            time.sleep(0.2)
    finally:
        stop(*running)


main()
