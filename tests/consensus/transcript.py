"""Golden transcripts: commands in, messages and state out, as text that a person can read and argue with.

A transcript is a file of blocks. `# ...` is a comment; `> command` is a command, and the lines after it, up to the next
blank line, are what it said. `run` plays the commands and writes the file again; the test compares.

    python -m tests.consensus.transcript --update     write what is said now into the files, then read the difference

Commands:
    network kz:k1,k2 cn:c1,c2 [witness:w] [learner:l] [option=value ...]     a new group, every log empty
    tick NODE [COUNT]          time passes for one node
    elect NODE [NODE ...]      campaign and settle (among these), without the details
    campaign NODE | transfer NODE TO | propose NODE TEXT... | passive NODE
    unreachable NODE MEMBER | snapshot-report NODE MEMBER ok|failed
    take NODE                  ready(): what leaves at once leaves
    save NODE                  write, sync, send what waited, advance
    work NODE                  take and save, until there is nothing to do
    crash NODE                 memory is lost, and what was not saved; the node starts again from its disk
    change NODE STEP...        +voter:NAME:AUTHORITY  +witness:NAME  +learner:NAME  -NAME, in one change
    join NODE                  a new node, which knows of the genesis only
    read NODE CONTEXT          what is committed now?
    snapshot NODE              the state machine writes a snapshot of what it applied; the log before it is compacted
    deliver TO [from NODE]     everything in flight to a node arrives
    drop TO [from NODE]        ... or is lost
    settle [NODE ...]          work and deliver (among these) until nobody has anything to say
    status NODE | log NODE     what a node thinks | what it has
    forge TYPE SENDER TO [field=value ...]     a message that nobody sent arrives
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from consensus import (
    Action,
    ChangeRefused,
    Config,
    Configuration,
    ConfigurationChange,
    Entry,
    EntryType,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    Misuse,
    ProposalDropped,
    RawNode,
    Ready,
    Step,
    decode_change,
    encode_change,
)
from consensus.storage import MemoryStorage
from tests.consensus.group import allow

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def show_change(change: ConfigurationChange) -> str:
    signs = {Action.ADD_VOTER: "+voter:", Action.ADD_WITNESS: "+witness:", Action.ADD_LEARNER: "+learner:"}
    steps = [
        signs.get(step.action, "-") + step.member + (f":{step.authority}" if step.authority else "")
        for step in change.steps
    ]
    return f"<{' '.join(steps) or 'leave joint'}>"


def read_step(text: str) -> Step:
    if text.startswith("-"):
        return Step(Action.REMOVE, text[1:])
    kind, member, *authority = text.removeprefix("+").split(":")
    return Step(Action[f"ADD_{kind.upper()}"], member, authority[0] if authority else None)


def show_entry(entry: Entry) -> str:
    if entry.type is EntryType.CONFIGURATION:
        return f"{entry.index}/{entry.term}:{show_change(decode_change(entry.data))}"
    return f"{entry.index}/{entry.term}:{entry.data.decode() or '-'}"


def show_entries(entries: tuple[Entry, ...]) -> str:
    return " ".join(show_entry(entry) for entry in entries)


def show_membership(membership: Membership) -> str:
    halves = []
    for half in (membership.outgoing, membership.incoming):
        if half is not None:
            sides = [f"{side}:{','.join(ids)}" for side, ids in half.authorities.items()]
            others = (("witness", half.witnesses), ("learner", half.learners))
            sides += [f"{role}:{','.join(sorted(ids))}" for role, ids in others if ids]
            halves.append(" ".join(sides))
    return " => ".join(halves)


def show_context(context: bytes) -> str:
    return f"round={int.from_bytes(context, 'big')}" if len(context) == 8 and context[0] == 0 else context.decode()


def show_message(message: Message) -> str:
    parts = [f"{message.sender}->{message.to} {message.type.name} term={message.term}"]
    if message.type in (MessageType.APPEND, MessageType.VOTE, MessageType.PRE_VOTE):
        parts.append(f"after={message.index}/{message.log_term}")
    elif message.type in (MessageType.APPEND_RESPONSE, MessageType.READ_INDEX_RESPONSE):
        parts.append(f"index={message.index}")
    if message.type in (MessageType.APPEND, MessageType.HEARTBEAT):
        parts.append(f"commit={message.commit}")
    if message.reject:
        parts.append("reject")
        if message.type is MessageType.APPEND_RESPONSE:
            parts.append(f"hint={message.reject_hint}/{message.log_term}")
    if message.context:
        parts.append(show_context(message.context))
    if message.entries:
        parts.append(f"entries [{show_entries(message.entries)}]")
    if message.snapshot is not None:
        parts.append(f"snapshot {message.snapshot.metadata.index}/{message.snapshot.metadata.term}")
    return " ".join(parts)


class Play:
    """One transcript being played."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.options: dict[str, Any] = {}
        self.storages: dict[str, MemoryStorage] = {}
        self.nodes: dict[str, RawNode] = {}
        self.applied: dict[str, list[Entry]] = {}
        self.outstanding: dict[str, Ready] = {}
        self.flying: list[Message] = []
        self.commands: dict[str, Callable[..., None]] = {
            name.removeprefix("do_").replace("_", "-"): getattr(self, name) for name in dir(self) if name[:3] == "do_"
        }

    def say(self, text: str) -> None:
        self.said.append("  " + text)

    def command(self, line: str) -> list[str]:
        self.said = []
        name, *words = line.split()
        try:
            self.commands[name](*words)
        except ProposalDropped as error:
            self.say(f"dropped: {error.reason.value}" + (f", leader {error.leader}" if error.leader else ""))
        except (ChangeRefused, MessageRefused, Misuse) as error:
            self.say(f"{type(error).__name__}: {error}")
        return self.said or ["  ok"]

    def start(self, node: str) -> None:
        applied = self.applied[node][-1].index if self.applied[node] else 0
        config = Config(node, 1, applied=applied, authorise=allow, **self.options)
        self.nodes[node] = RawNode(config, self.storages[node])
        self.outstanding.pop(node, None)

    def do_network(self, *words: str) -> None:
        self.__init__()  # type: ignore[misc]
        voters: dict[str, str] = {}
        others: dict[str, frozenset[str]] = {"witness": frozenset(), "learner": frozenset()}
        for word in words:
            if "=" in word:
                option, _, value = word.partition("=")
                self.options[option] = int(value)
                continue
            side, _, names = word.partition(":")
            if side in others:
                others[side] = frozenset(names.split(","))
            else:
                voters.update(dict.fromkeys(names.split(","), side))
        membership = Membership(Configuration(voters, others["witness"], others["learner"]))
        self.genesis = membership
        for node in sorted(membership.members):
            self.do_join(node)

    def do_join(self, node: str) -> None:
        self.storages[node] = MemoryStorage(self.genesis)
        self.applied[node] = []
        self.start(node)

    def do_change(self, node: str, *steps: str) -> None:
        change = ConfigurationChange(tuple(read_step(step) for step in steps))
        self.say(f"appended at {self.nodes[node].propose_change(change)}")

    def do_read(self, node: str, context: str) -> None:
        self.nodes[node].read_index(context.encode())

    def do_tick(self, node: str, count: str = "1") -> None:
        for _ in range(int(count)):
            self.nodes[node].tick()

    def do_campaign(self, node: str) -> None:
        self.nodes[node].campaign()

    def do_elect(self, node: str, *among: str) -> None:
        self.do_campaign(node)
        self.do_settle(*among)
        self.said = []
        status = self.nodes[node].status()
        self.say(f"{node} is {status.role.value} of term {status.term}")

    def do_transfer(self, node: str, to: str) -> None:
        self.nodes[node].transfer_leadership(to)

    def do_passive(self, node: str) -> None:
        self.nodes[node].set_passive()

    def do_propose(self, node: str, *texts: str) -> None:
        self.say(f"appended up to {self.nodes[node].propose([text.encode() for text in texts])}")

    def do_unreachable(self, node: str, member: str) -> None:
        self.nodes[node].report_unreachable(member)

    def do_snapshot_report(self, node: str, member: str, outcome: str) -> None:
        self.nodes[node].report_snapshot(member, outcome == "ok")

    def do_take(self, node: str) -> None:
        if not self.nodes[node].has_ready():
            self.say("nothing to do")
            return
        ready = self.nodes[node].ready()
        self.outstanding[node] = ready
        if ready.soft_state is not None:
            self.say(f"{node} is {ready.soft_state.role.value}, leader {ready.soft_state.leader_id or '-'}")
        if ready.membership is not None:
            self.say(f"in force: {show_membership(ready.membership)}")
        for state in ready.read_states:
            self.say(f"read   {state.context.decode()}: whoever has applied {state.index}")
        for dropped in ready.dropped_reads:
            self.say(f"read   {dropped.context.decode()}: dropped, {dropped.reason.value}")
        for message in ready.messages:
            self.say(f"now    {show_message(message)}")
        if ready.snapshot is not None:
            self.say(f"write  snapshot {ready.snapshot.metadata.index}/{ready.snapshot.metadata.term}")
        if ready.entries:
            self.say(f"write  entries [{show_entries(ready.entries)}]")
        if ready.hard_state is not None:
            hard = ready.hard_state
            self.say(f"write  term={hard.term} vote={hard.vote or '-'} commit={hard.commit}")
        if ready.must_sync:
            self.say("sync")
        for message in ready.messages_after_persist:
            self.say(f"after  {show_message(message)}")
        if ready.committed_entries:
            self.say(f"apply  [{show_entries(ready.committed_entries)}]")
        self.flying.extend(ready.messages)

    def do_save(self, node: str) -> None:
        ready = self.outstanding.pop(node, None)
        if ready is None:
            self.say("nothing to save")
            return
        storage = self.storages[node]
        if ready.snapshot is not None:
            storage.apply_snapshot(ready.snapshot)
            metadata = ready.snapshot.metadata
            self.applied[node] = [Entry(metadata.term, metadata.index, data=b"(snapshot)")]
        storage.append(ready.entries)
        if ready.hard_state is not None:
            storage.set_hard_state(ready.hard_state)
        self.flying.extend(ready.messages_after_persist)
        self.applied[node].extend(ready.committed_entries)
        self.nodes[node].advance(ready)

    def do_work(self, node: str) -> None:
        while self.nodes[node].has_ready():
            self.do_take(node)
            self.do_save(node)

    def do_crash(self, node: str) -> None:
        self.start(node)

    def do_snapshot(self, node: str) -> None:
        index = self.applied[node][-1].index
        self.storages[node].create_snapshot(index, b"state")
        self.say(f"compacted to {self.nodes[node].compact(index)}")

    def select(self, to: str, words: tuple[str, ...]) -> list[Message]:
        sender = words[1] if words else None
        chosen = [m for m in self.flying if m.to == to and sender in (None, m.sender)]
        self.flying = [m for m in self.flying if m not in chosen]
        return chosen

    def do_deliver(self, to: str, *words: str) -> None:
        for message in self.select(to, words):
            self.say(show_message(message))
            self.nodes[to].step(message)

    def do_drop(self, to: str, *words: str) -> None:
        for message in self.select(to, words):
            self.say(f"lost: {show_message(message)}")

    def do_settle(self, *nodes: str) -> None:
        among = nodes or tuple(self.nodes)
        for node in among:
            if node in self.outstanding:
                self.do_save(node)
        while any(self.nodes[node].has_ready() for node in among) or any(m.to in among for m in self.flying):
            for node in among:
                self.do_work(node)
            arriving, self.flying = self.flying, []
            for message in arriving:
                if message.to in among and message.sender in among and message.to in self.nodes:
                    self.nodes[message.to].step(message)

    def do_status(self, node: str) -> None:
        status = self.nodes[node].status()
        self.say(
            f"{status.role.value} term={status.term} vote={status.vote or '-'} leader={status.leader_id or '-'}"
            f" committed={status.committed_index} applied={status.applied_index} stable={status.stable_index}"
            f" log={status.first_index}..{status.last_index}"
        )
        for member, follower in status.followers.items():
            paused = " paused" if follower.paused else ""
            self.say(
                f"{member}: {follower.state.value} match={follower.match} next={follower.next}"
                f" inflight={follower.inflight_messages}{paused}"
            )
        if status.membership != self.genesis:
            pending = ", not committed" if status.change_pending else ""
            self.say(f"members: {show_membership(status.membership)} since {status.membership_index}{pending}")
        if status.missing_authorities:
            self.say(f"missing: {', '.join(status.missing_authorities)}")

    def do_log(self, node: str) -> None:
        storage = self.storages[node]
        entries = tuple(storage.entries(storage.first_index(), storage.last_index() + 1, 10**9))
        self.say(f"disk [{show_entries(entries)}] applied up to {self.nodes[node].status().applied_index}")

    def do_forge(self, kind: str, sender: str, to: str, *words: str) -> None:
        fields: dict[str, object] = {"term": 1}
        for word in words:
            name, _, value = word.partition("=")
            if name == "entries":
                fields[name] = tuple(
                    Entry(int(term), int(index), data=data.encode())
                    for index, term, data in (part.replace("/", ":").split(":") for part in value.split(","))
                )
            elif name == "change":
                index, term, *steps = value.replace("/", ",").split(",")
                data = encode_change(ConfigurationChange(tuple(read_step(step) for step in steps)))
                fields["entries"] = (Entry(int(term), int(index), EntryType.CONFIGURATION, data),)
            else:
                fields[name] = int(value) if value.isdigit() else value.encode()
        self.nodes[to].step(Message(MessageType[kind], to, sender, **fields))  # type: ignore[arg-type]


def run(text: str) -> str:
    """Play a transcript; returns it with what is said now."""
    play = Play()
    out: list[str] = []
    answering = False
    for line in text.splitlines():
        if line.startswith("> "):
            out.append(line)
            out.extend(play.command(line[2:]))
            answering = True
        elif answering and line.startswith("  "):
            continue
        else:
            answering = False
            out.append(line)
    return "\n".join(out).rstrip("\n") + "\n"


@click.command()
@click.option("--update", is_flag=True, help="Write the files instead of comparing.")
def main(update: bool) -> None:
    """Compare the transcripts with what the code says now; exit status 1 if one differs."""
    differs = False
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        text = path.read_text()
        now = run(text)
        if now == text:
            continue
        differs = True
        click.echo(f"{path.name} {'updated' if update else 'differs'}")
        if update:
            path.write_text(now)
    if differs and not update:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
