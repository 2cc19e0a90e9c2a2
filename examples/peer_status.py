"""Reading the status of every peer in this home, as `learnae watch` and monitors do."""

from learnae.system.paths import last_status, peers_here


def main() -> None:
    """Print one line a peer; the fields are those of Peer.status."""
    for directory in peers_here():
        status = last_status(directory)
        if not status:
            print(f"{directory.name}: has not said anything yet")
            continue
        accuracy = status["accuracy"]
        shown = "no accuracy yet" if accuracy is None else f"accuracy {accuracy:.2f}"
        print(f"{status['name']}: {shown}, {status['steps']} steps, {status['peers']} peers, {status['problems']}")


if __name__ == "__main__":
    main()
