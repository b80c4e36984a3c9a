"""`modfile` with MLflow loaded already, which takes longer than most of what it then does.

    python warm.py SOCKET

It waits at the socket for clients, and branches off a process for each, which runs the program with the arguments,
environment, working directory and standard files of the client. That ends as the program does.
"""

import json
import os
import signal
import socket
import sys

CLIENT = """\
import json, os, socket, sys
asked = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()]).encode()
with socket.socket(socket.AF_UNIX) as warm:
    warm.connect(sys.argv[1])
    socket.send_fds(warm, [b"."], [0, 1, 2])
    warm.sendall(asked)
    warm.shutdown(socket.SHUT_WR)
    sys.exit(warm.recv(1)[0])
"""
"""A program for `python -c`, with the socket and the arguments."""


def main(path: str) -> None:
    import mlflow.tracking  # noqa: F401 - it is what takes long

    from modfile_cmd.main import main as modfile

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while True:
            client = listener.accept()[0]
            with client:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _serve(client, modfile)


def _serve(client: socket.socket, modfile) -> None:
    files = socket.recv_fds(client, 1, 3)[1]
    with client.makefile("rb") as stream:
        arguments, environment, directory = json.load(stream)
    process = os.fork()
    if process:
        status = os.waitpid(process, 0)[1]
        client.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = ["modfile", *arguments]
    modfile()


if __name__ == "__main__":
    main(sys.argv[1])
