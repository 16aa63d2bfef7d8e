"""Reads a scenario file into a `Scenario`, or says everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from contracts import identifiers
from contracts.governance_payloads import parse_proposal_id
from contracts.outcome import Outcome
from contracts.parameters import genesis_parameters
from ledger.errors import Misuse
from nodes.demo.reading import Document, Table, read_document
from nodes.demo.scenario import (
    Authority,
    Crossing,
    Declaration,
    Goods,
    LegalBasis,
    MassDifference,
    Outage,
    Pace,
    Participant,
    Position,
    Post,
    Proposal,
    Registration,
    Route,
    Scenario,
    Seal,
    SealBroken,
    Terminal,
    Told,
    Truck,
)
from nodes.demo.script import told_faults

PASSES_MAX: Final = 2000
POSITIONS_MAX: Final = 200
CLOCK_MAX_S: Final = 366 * 86_400
MASS_MAX_G: Final = 200_000_000
INSTRUMENTS: Final = ("gate", "weighbridge", "scanner")
ALGORITHMS: Final = ("EdDSA", "ES256")
LINKS: Final = ("http", "grpc")
SEAL_CLASSES: Final = ("I", "S", "H")
DECISIONS: Final = ("release", "refuse", "reject")
CONTROLS: Final = ("none", "documentary", "physical", "scan")
RESOLUTIONS: Final = ("handed_over", "returned")
# What a told story can end in; empty where the file tells none.
STATUSES: Final = (
    "", "lodged", "registered", "accepted", "under_control", "released", "cleared", "rejected", "refused",
    "invalidated",
)  # fmt: skip
RECOGNITIONS: Final = ("", "none", "recognised", "refused", "suspended", "withdrawn")
STATES: Final = (
    "", "planned", "loaded", "sealed", "refused", "started", "at_border", "offered", "disputed", "returned",
    "handed_over", "arrived", "unloaded", "discrepancy", "recovery", "discharged", "held", "overdue", "aborted",
)  # fmt: skip

PROPOSAL_STATES: Final = ("open", "approved", "in_force", "rejected", "withdrawn", "lapsed", "superseded")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_COUNTRY = re.compile(r"[A-Z]{2}")


def load_scenario(path: Path) -> Scenario:
    """Read and check a scenario. Raises ScenarioError with every fault found."""
    document = read_document(path)
    scenario = _Reader(document).scenario()
    document.end()
    for field, message in told_faults(scenario):
        document.fault(field, message)
    document.end()
    return scenario


class _Reader:
    """Reads one document; what later tables refer to is collected while the earlier ones are read."""

    def __init__(self, document: Document) -> None:
        self._root = document.root
        self._authorities: dict[str, Authority] = {}
        self._posts: dict[str, Post] = {}
        self._participants: dict[str, Participant] = {}
        self._terminals: dict[str, Terminal] = {}
        self._trucks: dict[str, Truck] = {}
        self._routes: dict[str, Route] = {}
        self._declarations: dict[str, Declaration] = {}
        self._seen: dict[str, set[str]] = {}

    def scenario(self) -> Scenario:
        root = self._root
        head = root.required_table("scenario")
        name, title, origin = head.text("name"), head.text("title"), head.text("origin")
        if name and not _NAME.fullmatch(name):
            head.fault("name", f"expected lower-case letters, digits and hyphens, got {name!r}")
        every_row = head.flag("every_row")
        if any(character.isspace() or character == "+" for character in origin):
            head.fault("origin", f"expected a name without spaces or plus signs, got {origin!r}")
        head.end()
        legal_basis = self._legal_basis(root.required_table("legal_basis"))
        parameters = self._parameters(root.table("parameters"))
        self._read_authorities(root)
        for table in root.tables("posts", at_least=2):
            self._read_post(table)
        for table in root.tables("participants", at_least=1):
            self._read_participant(table)
        for table in root.tables("terminals", at_least=1):
            self._read_terminal(table)
        for table in root.tables("trucks", at_least=1):
            self._read_truck(table)
        for table in root.tables("routes", at_least=1):
            self._read_route(table)
        for table in root.tables("declarations", at_least=1):
            self._read_declaration(table)
        tables = root.tables("crossings", at_least=1)
        if len(tables) > PASSES_MAX:
            root.fault("crossings", f"too many: limit {PASSES_MAX}, got {len(tables)}")
        crossings = tuple(self._crossing(table) for table in tables)
        outage = self._outage(root.required_table("outage"))
        pace = self._pace(root.table("pace"))
        registrations = tuple(self._registration(table) for table in root.tables("registrations"))
        proposals = tuple(self._proposal(table) for table in root.tables("proposals"))
        root.end()
        # Trucks may leave and enter by the posts of the scenario unless it says which.
        codes = [identifiers.parse_place(post.place).code for post in self._posts.values() if _is_place(post.place)]
        parameters.setdefault("posts", " ".join(codes))
        return Scenario(
            name=name,
            title=title,
            origin=origin,
            legal_basis=legal_basis,
            authorities=tuple(self._authorities.values()),
            posts=self._posts,
            participants=self._participants,
            terminals=self._terminals,
            trucks=self._trucks,
            routes=self._routes,
            declarations=self._declarations,
            crossings=crossings,
            outage=outage,
            pace=pace,
            parameters=parameters,
            registrations=registrations,
            proposals=proposals,
            every_row=every_row,
        )

    # -- words that several tables use ---------------------------------------------------------------------------

    def _once(self, table: Table, key: str, kind: str, value: str) -> str:
        """The value, and a fault if the scenario names it as this kind of thing for the second time."""
        seen = self._seen.setdefault(kind, set())
        if value in seen:
            table.fault(key, f"{kind} {value!r} stands in the scenario twice")
        if value:
            seen.add(value)
        return value

    def _known(self, table: Table, key: str, what: str, names: Iterable[str]) -> str:
        value = table.text(key)
        if value and value not in names:
            table.fault(key, f"there is no {what} {value!r} in this scenario")
        return value

    def _participant_id(self, table: Table, key: str = "id") -> str:
        value = table.text(key)
        table.checked(key, value, identifiers.parse_participant_id)
        return self._once(table, key, "participant", value)

    def _in_role(self, table: Table, key: str, role: str) -> str:
        value = self._known(table, key, "participant", self._participants)
        participant = self._participants.get(value)
        if participant is not None and role not in participant.roles:
            table.fault(
                key, f"expected a participant with the role {role}, got {value!r} ({', '.join(participant.roles)})"
            )
        return value

    def _told(self, table: Table) -> tuple[Told, ...]:
        steps = []
        for item in table.tables("steps"):
            told = Told(
                do=item.text("do", ""),
                by=item.text("by", ""),
                payload=item.mapping("with"),
                refused=item.text("refused", "accepted"),
                say=item.text("say", ""),
                drive=item.number("drive", 1, POSITIONS_MAX, 0),
                wait=item.text("wait", ""),
                clock_s=item.number("clock_s", -CLOCK_MAX_S, CLOCK_MAX_S, 0),
                again=item.flag("again"),
            )
            if sum(map(bool, (told.do, told.drive, told.wait))) != 1:
                item.fault("do", "expected exactly one of do, drive and wait in a step")
            if told.refused.upper() not in Outcome.__members__:
                item.fault("refused", f"expected the name of an outcome, got {told.refused!r}")
            item.end()
            steps.append(told)
        return tuple(steps)

    def _registration(self, table: Table) -> Registration:
        registration = Registration(
            self._known(table, "participant", "participant", self._participants), self._told(table)
        )
        table.end()
        return registration

    def _proposal(self, table: Table) -> Proposal:
        name = table.text("id")
        table.checked("id", name, parse_proposal_id)
        proposal = Proposal(
            id=name,
            authority=self._known(table, "authority", "authority", self._authorities),
            title=table.text("title"),
            changes=tuple(table.mappings("changes")),
            ends=table.choice("ends", PROPOSAL_STATES),
            steps=self._told(table),
        )
        table.end()
        return proposal

    @staticmethod
    def _position(table: Table) -> Position:
        return Position(
            table.number("latitude_udeg", -90_000_000, 90_000_000),
            table.number("longitude_udeg", -180_000_000, 180_000_000),
        )

    # -- the tables ------------------------------------------------------------------------------------------------

    def _legal_basis(self, table: Table) -> LegalBasis:
        basis = LegalBasis(table.text("agreement"), table.text("article"), table.day("effective"))
        table.end()
        return basis

    def _parameters(self, table: Table | None) -> dict[str, int | str]:
        parameters: dict[str, int | str] = {}
        if table is None:
            return parameters
        for name, value in table.entries().items():
            try:
                genesis_parameters({name: value})
            except Misuse as error:
                table.fault(name, str(error))
            parameters[name] = value
        return parameters

    def _read_authorities(self, root: Table) -> None:
        tables = root.tables("authorities", at_least=2)
        if len(tables) > 2:
            root.fault("authorities", f"expected exactly two, got {len(tables)}")
        for table in tables:
            name = self._once(table, "name", "authority", table.text("name"))
            if name and not _NAME.fullmatch(name):
                table.fault("name", f"expected lower-case letters, digits and hyphens, got {name!r}")
            country = self._once(table, "country", "country", table.text("country"))
            if country and not _COUNTRY.fullmatch(country):
                table.fault("country", f"expected two capital letters, got {country!r}")
            authority = Authority(name, country, table.text("title"))
            self._authorities[name] = authority
            for role in ("registrar", "officer", "system"):
                self._seen.setdefault("participant", set()).add(f"{name}/{role}")
                self._participants[f"{name}/{role}"] = Participant(
                    f"{name}/{role}", name, (f"customs.{role}",), "EdDSA"
                )
            table.end()

    def _read_post(self, table: Table) -> None:
        name = self._once(table, "name", "post", table.text("name"))
        post = Post(
            name,
            self._known(table, "authority", "authority", self._authorities),
            table.text("title"),
            table.checked("place", table.text("place"), identifiers.parse_place),
        )
        self._posts[name] = post
        table.end()

    def _read_participant(self, table: Table) -> None:
        participant = Participant(
            self._participant_id(table),
            self._known(table, "authority", "authority", self._authorities),
            table.texts("roles", at_least=1),
            table.choice("algorithm", ALGORITHMS, "EdDSA"),
        )
        for role in participant.roles:
            if role not in ("declarant", "carrier", "auditor"):
                table.fault("roles", f"expected declarant, carrier or auditor, got {role!r}")
        self._participants[participant.id] = participant
        table.end()

    def _read_terminal(self, table: Table) -> None:
        terminal = Terminal(
            self._participant_id(table),
            self._known(table, "post", "post", self._posts),
            table.choice("instrument", INSTRUMENTS),
        )
        self._once(table, "instrument", "instrument", f"{terminal.instrument} of {terminal.post}")
        algorithm = table.choice("algorithm", ALGORITHMS, "EdDSA")
        post = self._posts.get(terminal.post)
        if post is not None:
            self._participants[terminal.id] = Participant(terminal.id, post.authority, ("terminal",), algorithm)
        self._terminals[terminal.id] = terminal
        table.end()

    def _read_truck(self, table: Table) -> None:
        identity = self._participant_id(table)
        authority = self._known(table, "authority", "authority", self._authorities)
        vehicle = table.checked("vehicle", table.text("vehicle"), identifiers.parse_vehicle)
        self._once(table, "vehicle", "vehicle", vehicle)
        truck = Truck(
            identity,
            self._in_role(table, "carrier", "carrier"),
            vehicle,
            table.choice("link", LINKS, "http"),
        )
        self._participants[identity] = Participant(
            identity, authority, ("truck",), table.choice("algorithm", ALGORITHMS, "ES256")
        )
        self._trucks[identity] = truck
        table.end()

    def _read_route(self, table: Table) -> None:
        name = self._once(table, "name", "route", table.text("name"))
        departure = self._known(table, "departure", "post", self._posts)
        destination = self._known(table, "destination", "post", self._posts)
        if departure in self._posts and destination in self._posts:
            if self._posts[departure].authority == self._posts[destination].authority:
                table.fault("destination", "expected a post of the other authority")
            for post in (departure, destination):
                for instrument in ("gate", "weighbridge"):
                    if not any((item.post, item.instrument) == (post, instrument) for item in self._terminals.values()):
                        table.fault("name", f"post {post!r} has no {instrument}, which a crossing needs")
        points = []
        for point in table.tables("points", at_least=2):
            points.append(self._position(point))
            point.end()
        route = Route(
            name,
            departure,
            destination,
            tuple(points),
            table.number("corridor_m", 10, 10_000),
            table.number("border_leg_min", 1, 100_000),
            table.number("arrival_leg_min", 1, 100_000),
        )
        self._routes[name] = route
        table.end()

    def _read_declaration(self, table: Table) -> None:
        ucr = self._once(table, "ucr", "UCR", table.checked("ucr", table.text("ucr"), identifiers.parse_ucr))
        home = self._known(table, "home", "authority", self._authorities)
        decision = table.choice("decision", DECISIONS, "release")
        declaration = Declaration(
            ucr=ucr,
            home=home,
            declarant=self._in_role(table, "declarant", "declarant"),
            carrier=self._in_role(table, "carrier", "carrier"),
            consignor=table.text("consignor"),
            consignee=table.text("consignee"),
            origin=table.checked("origin", table.text("origin"), identifiers.parse_country),
            destination=table.checked("destination", table.text("destination"), identifiers.parse_country),
            gross_mass_g=table.number("gross_mass_g", 1, MASS_MAX_G),
            numbers=self._numbers(table.required_table("numbers"), home, decision, told="steps" in table),
            containers=self._containers(table),
            goods=tuple(self._goods(item) for item in table.tables("goods", at_least=1)),
            control=table.choice("control", CONTROLS, "none"),
            decision=decision,
            reason=table.text("reason", "" if decision == "release" else None),
            steps=(steps := self._told(table)),
            ends=table.choice("ends", STATUSES, None if steps else ""),
            recognition=table.choice("recognition", RECOGNITIONS, "none" if steps else ""),
        )
        net_mass_g = sum(item.mass_g for item in declaration.goods)
        if net_mass_g > declaration.gross_mass_g:
            table.fault("gross_mass_g", f"expected at least the goods' {net_mass_g}, got {declaration.gross_mass_g}")
        self._declarations[ucr] = declaration
        table.end()

    def _numbers(self, table: Table, home: str, decision: str, *, told: bool) -> dict[str, str]:
        """The national numbers by authority: the home's own always, the partner's where it is to recognise.

        A story of its own may need neither.
        """
        numbers = {}
        for name, authority in self._authorities.items():
            wanted = decision == "release" or (name == home and decision == "refuse")
            if told and name not in table:
                continue
            if not wanted:
                if name in table:
                    table.fault(name, "is not wanted: a declaration that is not released gets no such number")
                    table.text(name)
                continue
            parse = NUMBER_FORMS.get(authority.country)
            if parse is None:
                table.fault(
                    name, f"numbers of {authority.country} have no known form: expected {', '.join(NUMBER_FORMS)}"
                )
                continue
            value = table.checked(name, table.text(name), parse)
            numbers[name] = self._once(table, name, f"declaration number of {name}", value)
        table.end()
        return numbers

    def _containers(self, table: Table) -> tuple[str, ...]:
        values = table.texts("containers")
        for value in values:
            table.checked("containers", value, identifiers.parse_container)
        return values

    def _goods(self, table: Table) -> Goods:
        goods = Goods(
            table.checked("hs", table.text("hs"), identifiers.parse_hs),
            table.text("description"),
            table.number("mass_g", 1, MASS_MAX_G),
            table.number("packages", 0, 1_000_000, 0),
        )
        table.end()
        return goods

    def _seals(self, tables: list[Table], authority: str) -> tuple[Seal, ...]:
        seals = []
        for table in tables:
            number, seal_class = table.text("number"), table.choice("class", SEAL_CLASSES)
            table.checked("number", number, identifiers.parse_seal)
            self._once(table, "number", "seal", number)
            container = device = None
            if "container" in table:
                container = table.checked("container", table.text("container"), identifiers.parse_container)
            if "device" in table:
                device = self._participant_id(table, "device")
                algorithm = table.choice("algorithm", ALGORITHMS, "EdDSA")
                self._participants[device] = Participant(device, authority, ("eseal",), algorithm)
            seals.append(Seal(number, seal_class, container, device))
            table.end()
        return tuple(seals)

    def _crossing(self, table: Table) -> Crossing:
        mrn = self._once(table, "mrn", "MRN", table.checked("mrn", table.text("mrn"), identifiers.parse_mrn))
        truck = self._known(table, "truck", "truck", self._trucks)
        self._once(table, "truck", "truck on the road", truck)
        route_name = self._known(table, "route", "route", self._routes)
        route = self._routes.get(route_name)
        authority = self._posts[route.departure].authority if route and route.departure in self._posts else ""
        declarations = table.texts("declarations", at_least=1)
        for ucr in declarations:
            self._check_declared(table, ucr, authority)
        told = 1 if "steps" in table else None  # a story of its own says where it drives
        crossing = Crossing(
            mrn=mrn,
            truck=truck,
            receiver=self._in_role(table, "receiver", "carrier"),
            route=route_name,
            declarations=declarations,
            containers=self._containers(table),
            seals=self._seals(table.tables("seals", at_least=1), authority),
            mass_g=table.number("mass_g", 1, MASS_MAX_G),
            positions_before_border=table.number("positions_before_border", 1, POSITIONS_MAX, told),
            positions_after_border=table.number("positions_after_border", 0, POSITIONS_MAX, told),
            seal_broken=None,
            mass_difference=None,
            steps=(steps := self._told(table)),
            ends=table.choice("ends", STATES, None if steps else ""),
            custody=table.choice("custody", ("home", "partner"), None if steps else "home"),
        )
        known = [self._declarations[ucr] for ucr in declarations if ucr in self._declarations]
        declared = {container for declaration in known for container in declaration.containers}
        for container in crossing.containers:
            self._once(table, "containers", "container on the road", container)
            if known and container not in declared:
                table.fault("containers", f"container {container} is on none of the crossing's declarations")
        for seal in crossing.seals:
            if seal.container is not None and seal.container not in crossing.containers:
                table.fault("seals", f"seal {seal.number} is on {seal.container}, which is not on this crossing")
        broken = self._seal_broken(table.table("seal_broken"), crossing, authority)
        difference = self._mass_difference(table.table("mass_difference"))
        table.end()
        return replace(crossing, seal_broken=broken, mass_difference=difference)

    def _check_declared(self, table: Table, ucr: str, authority: str) -> None:
        declaration = self._declarations.get(ucr)
        if declaration is None:
            table.fault("declarations", f"there is no declaration {ucr!r} in this scenario")
        elif declaration.decision != "release":
            table.fault("declarations", f"declaration {ucr!r} is never released: nothing may cross on it")
        elif authority and declaration.home != authority:
            table.fault("declarations", f"expected a declaration of {authority}, got {ucr!r} of {declaration.home}")
        self._once(table, "declarations", "declaration on the road", ucr)

    def _seal_broken(self, table: Table | None, crossing: Crossing, authority: str) -> SealBroken | None:
        if table is None:
            return None
        electronic = [seal.number for seal in crossing.seals if seal.device is not None]
        broken = SealBroken(
            self._known(table, "seal", "electronic seal of this crossing", electronic),
            table.number("after_positions", 0, crossing.positions_before_border),
            self._seals(table.tables("replacement", at_least=1), authority),
        )
        table.end()
        return broken

    def _mass_difference(self, table: Table | None) -> MassDifference | None:
        if table is None:
            return None
        difference = MassDifference(
            table.number("measured_g", 1, MASS_MAX_G), table.choice("resolution", RESOLUTIONS, RESOLUTIONS[0])
        )
        table.end()
        return difference

    def _outage(self, table: Table) -> Outage:
        outage = Outage(
            self._known(table, "authority", "authority", self._authorities),
            table.number("at_percent", 1, 80, 50),
            table.number("seconds", 2, 600, 6),
        )
        table.end()
        return outage

    def _pace(self, table: Table | None) -> Pace:
        if table is None:
            return Pace(departure_interval_ms=500, position_interval_ms=300)
        pace = Pace(
            table.number("departure_interval_ms", 0, 600_000),
            table.number("position_interval_ms", 0, 600_000),
        )
        table.end()
        return pace


def _is_place(text: str) -> bool:
    try:
        identifiers.parse_place(text)
    except identifiers.IdentifierError:
        return False
    return True


NUMBER_FORMS: Final[dict[str, Callable[[str], object]]] = {
    "KZ": identifiers.parse_kz_number,
    "CN": identifiers.parse_cn_number,
}
