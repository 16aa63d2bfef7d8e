"""What each outcome means, and what whoever met it can do: the text of the outcome pages and of `/v1/outcomes`.

Facts that only one contract knows are told in that contract's words. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.catalogue import CONTRACTS
from contracts.machine import ABSENT, refusals
from contracts.outcome import Outcome
from contracts.outcome import Outcome as O

# Found before any contract is asked: every statement can meet these.
STATEMENT_OUTCOMES = tuple(outcome for outcome in Outcome if 101 <= outcome <= 120)


@dataclass(frozen=True, slots=True)
class Advice:
    """`means`: the fact, as a sentence. `do`: what helps."""

    means: str
    do: str


_CORRECT_AND_SIGN = "Correct it, sign it anew and send it."

ADVICE: dict[Outcome, Advice] = {
    O.ACCEPTED: Advice(
        "The statement holds and is an entry of the log.",
        "Nothing. It is final once validators of both authorities have cosigned; then ask for its proof.",
    ),
    O.ALREADY_ACCEPTED: Advice(
        "These very bytes are on the log already; nothing happened twice.",
        "Take the earlier position as the answer: sending again is always safe.",
    ),
    O.CTI_REUSED: Advice(
        "The issuer has used this `cti` for another statement, which is on the log.",
        "Give each statement 16 fresh random bytes as its `cti`, and look whether two devices share one key.",
    ),
    O.KIND_UNKNOWN: Advice(
        "No contract of this network has an event of this kind.",
        "Look at the spelling, and at the contracts that the network's genesis record names.",
    ),
    O.SUBJECT_INVALID: Advice(
        "`sub` is not an identifier of what statements of this kind are about.",
        "`detail` names the character. " + _CORRECT_AND_SIGN,
    ),
    O.PAYLOAD_FIELD_MISSING: Advice(
        "A field that statements of this kind must have is not there.", "`detail` names it. " + _CORRECT_AND_SIGN
    ),
    O.PAYLOAD_FIELD_UNKNOWN: Advice(
        "The payload has a field that statements of this kind do not have; what nobody checks is not signed.",
        "`detail` names it and those that are expected. Leave it out, or put it under its right name.",
    ),
    O.PAYLOAD_FIELD_WRONG_TYPE: Advice(
        "A field holds a value of another type.", "`detail` names the field and the type. " + _CORRECT_AND_SIGN
    ),
    O.PAYLOAD_FIELD_OUT_OF_LIMITS: Advice(
        "A value is too long, too short, too great, too small, or none of those that may stand there.",
        "`detail` has the limits. " + _CORRECT_AND_SIGN,
    ),
    O.PAYLOAD_IDENTIFIER_INVALID: Advice(
        "An identifier in the payload is not of its form, or its check digit is wrong.",
        "`detail` names the field and the character: most often it was mistyped.",
    ),
    O.ISSUER_UNKNOWN: Advice(
        "Nobody of this id is enrolled.", "Have your authority's registrar enrol you, or look at the spelling of `iss`."
    ),
    O.KEY_UNKNOWN: Advice(
        "The key that signed is not one of the issuer's.",
        "Sign with the enrolled key, or have the registrar add this one (`registry.rotate`).",
    ),
    O.KEY_NOT_YET_VALID: Advice(
        "The key does not count before a time that has not come.", "Wait for it, or sign with another key."
    ),
    O.KEY_SUSPENDED: Advice(
        "The registrar has suspended the key.",
        "Ask the registrar why. Nothing signed with it is taken until it is resumed.",
    ),
    O.KEY_REVOKED: Advice(
        "The registrar has revoked the key, for good.",
        "Sign with another key. If you did not expect this, the key may be in strange hands: ask the registrar.",
    ),
    O.KEY_EXPIRED: Advice(
        "The key's time is over.", "Have the registrar rotate to a new one; do so before the end the next time."
    ),
    O.SIGNATURE_INVALID: Advice(
        "The signature does not verify with the key that it names.",
        "The bytes were changed on their way, or signed with another key. Sign anew.",
    ),
    O.ROLE_NOT_ALLOWED: Advice(
        "The issuer has none of the roles that may send this.",
        "See the event's row in the tables for who may. A role is given at enrolment.",
    ),
    O.SIDE_NOT_ALLOWED: Advice(
        "The issuer has the role, but stands on the wrong side or is not a party of this record.",
        "It is for the other authority, or for the party that the record names.",
    ),
    O.IAT_TOO_OLD: Advice(
        "The statement was signed longer ago than `iat_skew_hard_s` allows.",
        "Set the device's clock, and sign anew what is still true.",
    ),
    O.IAT_IN_FUTURE: Advice(
        "The statement is dated further ahead than `iat_skew_hard_s` allows.", "Set the device's clock and sign anew."
    ),
    O.PARTICIPANT_UNKNOWN: Advice("Nobody of this id is enrolled.", "Enrol first (`registry.enrol`)."),
    O.PARTICIPANT_ALREADY_ENROLLED: Advice(
        "The id is taken.", "To add a key use `registry.rotate`; for somebody else choose another id."
    ),
    O.REGISTRY_TRANSITION_NOT_ALLOWED: Advice(
        "The key is in a state in which this cannot happen to it: a revoked key stays revoked.",
        "Look at the participant's record, then decide anew.",
    ),
    O.PARTICIPANT_ID_OF_OTHER_AUTHORITY: Advice(
        "The id begins with another authority's name or country.",
        "Begin it with your own, or let the other registrar enrol.",
    ),
    O.KEY_MALFORMED: Advice(
        "The bytes are no canonical COSE_Key of a suite that the ledger has.",
        "Take the public key as `comity keys show` writes it.",
    ),
    O.KEY_ALREADY_ENROLLED: Advice(
        "The key was enrolled before, for this or another participant.",
        "Make a new key: one key is never two people's.",
    ),
    O.KEY_NOT_OF_PARTICIPANT: Advice(
        "The participant has no key of this thumbprint.", "Take the `kid` from the participant's record."
    ),
    O.KEY_VALIDITY_EMPTY: Advice(
        "The key would end before it begins, or has ended already.", "Give a later `valid_until_ms`, or none."
    ),
    O.KEY_LIMIT_REACHED: Advice(
        "The participant has as many standing keys as one may have.", "Revoke one that is no longer needed."
    ),
    O.LAST_REGISTRAR_KEY: Advice(
        "Afterwards the authority's registrar could not act any more, and nobody could undo it.",
        "Rotate to a key without an end first, with an overlap that reaches its beginning.",
    ),
    O.ENVELOPE_KEY_NOT_OF_AUTHORITY: Advice(
        "The envelope key is for another authority than the registrar's own, or not in the registrar's own name.",
        "Publish your own authority's key, with the registrar that the genesis names as the subject.",
    ),
    O.ENVELOPE_KEY_ALREADY_PUBLISHED: Advice(
        "The authority has, or had, this envelope key.", "Make a new key; if it is the present one, nothing is to do."
    ),
    O.DECLARATION_UNKNOWN: Advice("No declaration of this UCR was lodged.", "Lodge it, or look at the UCR."),
    O.DECLARATION_ALREADY_LODGED: Advice(
        "A declaration of this UCR is there.",
        "Ask for an amendment of it, or lodge the other goods under their own UCR.",
    ),
    O.DECLARATION_TRANSITION_NOT_ALLOWED: Advice(
        "The declaration is in a status in which this cannot happen.",
        "Read its status and what it waits for (`pending`); the diagram shows the way.",
    ),
    O.RECOGNITION_TRANSITION_NOT_ALLOWED: Advice(
        "The recognition is in a state in which this cannot happen.",
        "Read the recognition's state. After a refusal or withdrawal a new version of the content can be recognised.",
    ),
    O.DECLARATION_AUTHORITY_UNKNOWN: Advice(
        "An authority that the declaration names is no party of this network.",
        "Take the names of the two authorities from the genesis record.",
    ),
    O.DECLARATION_PARTNER_IS_HOME: Advice(
        "The declaration names one authority for both sides.", "Name the other authority as `partner`."
    ),
    O.DECLARATION_CARRIER_UNKNOWN: Advice(
        "The carrier that it names is not enrolled as one.", "Have the carrier enrolled, or leave it out."
    ),
    O.GOODS_MASS_EXCEEDS_GROSS_MASS: Advice(
        "The net masses of the goods together are more than the gross mass.", "Correct the masses, in grams."
    ),
    O.DECLARATION_NUMBER_INVALID: Advice(
        "The number is not of the form that the country's declarations have.",
        "Take it from the national system as it is.",
    ),
    O.DECLARATION_NUMBER_TAKEN: Advice(
        "The number belongs to another declaration.",
        "Give this one its own; if it is the other's, find out who is right.",
    ),
    O.DECLARATION_NUMBER_MISSING: Advice(
        "The decision accepts the declaration for the first time, and so has to give it a number.", "Add `number`."
    ),
    O.DECLARATION_NUMBER_ALREADY_GIVEN: Advice(
        "The declaration has its number; it keeps it through amendments.", "Leave `number` out."
    ),
    O.AMENDMENT_PENDING: Advice(
        "An amendment waits for the home authority's decision.", "Decide it first, or wait until it is decided."
    ),
    O.AMENDMENT_NOT_PENDING: Advice(
        "No amendment waits for a decision.", "Look at the record: it may be decided already."
    ),
    O.INVALIDATION_PENDING: Advice(
        "A request to invalidate waits for the home authority's decision.", "Invalidate or refuse it first."
    ),
    O.INVALIDATION_NOT_REQUESTED: Advice(
        "Before release a declaration is invalidated at its declarant's request, and there is none.",
        "Let the declarant ask; otherwise reject or refuse it.",
    ),
    O.DECLARATION_IN_MOVEMENT: Advice(
        "Goods of this declaration are on a movement that has started and not ended.",
        "Wait for its end, or end it by the escort's own events.",
    ),
    O.CORRECTION_MISSING: Advice(
        "The control says `corrected`, and the corrected content is not there.", "Add the whole corrected `content`."
    ),
    O.CORRECTION_NOT_EXPECTED: Advice(
        "The control found nothing to correct, yet a content comes with it.", "Leave `content` out, or say `corrected`."
    ),
    O.DECLARATION_VERSION_DIFFERS: Advice(
        "The decision is about another version of the content than the present one.",
        "Read the present version, decide about it, and name it in `version`.",
    ),
    O.DECLARATION_NOT_ACCEPTED: Advice(
        "The home authority has not accepted the declaration, or it has ended.", "Wait until it is accepted."
    ),
    O.DECLARATION_HAS_EXITED: Advice(
        "A movement has carried the goods over; what has left is not taken back.",
        "End the procedure instead (`declaration.clear`).",
    ),
    O.EXIT_NOT_CONFIRMED: Advice(
        "No movement has carried the goods over, and no other proof of their exit is named.",
        "Wait for the handover, or name the proof.",
    ),
    O.COMMITMENTS_NOT_IN_ORDER: Advice(
        "The commitments are not in the order of their names, or one is there twice.", "Sort them by name, each once."
    ),
    O.COMMITMENT_OF_NOTHING: Advice(
        "A commitment is to a field that this content cannot have: goods or documents that are not there.",
        "Count from 0, as the content has them, and leave the others out.",
    ),
    O.FIELD_OPEN_AND_COMMITTED: Advice(
        "A field is shown and committed to as well.", "Decide for one: what was shown once is on the ledger for ever."
    ),
    O.FIELD_NEITHER_OPEN_NOR_COMMITTED: Advice(
        "A field that every declaration has is neither shown nor committed to.", "Add it, or a commitment to it."
    ),
    O.ENVELOPE_MISSING: Advice(
        "There are commitments, and no hash of the envelope with what opens them.",
        "Add `envelope_sha256`: without the envelope the authorities could not read what was declared.",
    ),
    O.ENVELOPE_NOT_EXPECTED: Advice(
        "There is an envelope's hash, and nothing that it would open.", "Leave `envelope_sha256` out."
    ),
    O.MOVEMENT_UNKNOWN: Advice("No movement of this MRN was planned.", "Plan it, or look at the MRN."),
    O.MOVEMENT_ALREADY_PLANNED: Advice("A movement of this MRN is there.", "Plan the other one under its own MRN."),
    O.MOVEMENT_TRANSITION_NOT_ALLOWED: Advice(
        "The movement is in a state in which this cannot happen: its time has not come, or is over.",
        "Read its state and what it waits for (`pending`). What came too early may be sent again.",
    ),
    O.MRN_COUNTRY_DIFFERS: Advice(
        "The MRN is of another country than the authority that plans.", "Take an MRN of your own country."
    ),
    O.MOVEMENT_DECLARATION_UNKNOWN: Advice("A declaration that the plan names was never lodged.", "Look at the UCRs."),
    O.DECLARATION_HOME_DIFFERS: Advice(
        "A declaration of the plan was received by another authority.", "Let the authority that received it plan."
    ),
    O.DECLARATION_PARTNER_DIFFERS: Advice(
        "The declarations of the plan go to different partners.", "Plan one movement for each."
    ),
    O.DECLARATION_NOT_RELEASED: Advice(
        "A declaration of the movement is not released.", "Release it first (`declaration.release`)."
    ),
    O.DECLARATION_NOT_RECOGNISED: Advice(
        "A declaration of the movement is not recognised by the partner in its present version.",
        "Let the partner decide (`declaration.recognise`); after an amendment it must decide anew.",
    ),
    O.DECLARATION_VERSION_CHANGED: Advice(
        "A declaration was amended after the movement was planned.",
        "Refuse the start and plan anew with the present version.",
    ),
    O.TRUCK_UNKNOWN: Advice("The truck is not enrolled as one.", "Have its computer enrolled with the role `truck`."),
    O.CARRIER_UNKNOWN: Advice(
        "The carrier is not enrolled as one by the departure side.", "Have it enrolled, or name the right one."
    ),
    O.RECEIVER_UNKNOWN: Advice(
        "The receiver is not enrolled as carrier or declarant by the destination side.",
        "Have it enrolled there, or name the right one: it is liable after the handover.",
    ),
    O.POST_NOT_ALLOWED: Advice(
        "A post is not one of those that both authorities allow, or lies on the wrong side.",
        "Take posts of the parameter `posts`: the exit post of the departure side, the entry post of the other.",
    ),
    O.CORRIDOR_TOO_WIDE: Advice("The corridor is wider than allowed.", "Keep within the parameter `corridor_m`."),
    O.LEG_LIMIT_TOO_LONG: Advice("A time limit is longer than allowed.", "Keep within the parameter `leg_limit_s`."),
    O.CONTAINER_NOT_DECLARED: Advice(
        "A container of the plan stands in none of its declarations.", "Amend the declaration, or plan without it."
    ),
    O.CONTAINER_IN_OTHER_MOVEMENT: Advice(
        "A container is on another movement.", "Look that one up: it frees its containers when it is unloaded or ends."
    ),
    O.CONTAINERS_DIFFER_FROM_PLAN: Advice(
        "What was loaded is not what was planned.", "Load as planned, or refuse the start and plan anew."
    ),
    O.SEAL_ALREADY_USED: Advice(
        "A seal of this number was on this movement before.", "Put on a seal with another number."
    ),
    O.SEAL_DEVICE_UNKNOWN: Advice(
        "The device that a seal names is not enrolled as an electronic seal.", "Have it enrolled with the role `eseal`."
    ),
    O.SEAL_CONTAINER_NOT_ON_MOVEMENT: Advice(
        "A seal names a container that is not on this movement.", "Name one of the movement's, or none for the hold."
    ),
    O.SEAL_LIMIT_REACHED: Advice(
        "The movement would have more seals than one may ever have.", "Fewer seals; if it cannot go on so, abort it."
    ),
    O.BORDER_ALREADY_REPORTED: Advice(
        "This party has reported the border already.", "Nothing: the other of truck and gate may still be missing."
    ),
    O.SEAL_READINGS_DIFFER: Advice(
        "The seals that were read are not exactly those in force.",
        "Read every seal in force, each once. If one is missing, accept with differences or report an incident.",
    ),
    O.SEAL_NOT_INTACT: Advice(
        "A seal was read as broken or missing.",
        "Report an incident, or accept with differences: the authorities then decide.",
    ),
    O.SEAL_READINGS_MISSING: Advice(
        "Seals are in force, and none was read.", "Read them before the unloading is recorded."
    ),
    O.MASS_OUT_OF_TOLERANCE: Advice(
        "The mass differs from an earlier weighing by more than both authorities tolerate.",
        "Weigh again. If it stays so, accept with differences, or unload not as declared.",
    ),
    O.NO_DIFFERENCE_FOUND: Advice("Nothing differs from the offer.", "Accept the handover (`escort.accept`)."),
    O.INCIDENT_NEEDS_SEAL: Advice("An incident of this code is about a seal, and names none.", "Add `seal`."),
    O.SEAL_NOT_ON_MOVEMENT: Advice("The seal is not in force on this movement.", "Take its number from the record."),
    O.SEAL_OF_OTHER_DEVICE: Advice(
        "An electronic seal speaks of another seal than itself.", "Let the seal itself, the truck or an officer report."
    ),
    O.NEW_SEALS_REQUIRED: Advice(
        "After a seal broke or the vehicle changed the movement goes on under new seals only.", "Add `seals`."
    ),
    O.NEW_VEHICLE_REQUIRED: Advice(
        "The goods are on another vehicle, and it is not named.",
        "Add `vehicle`, and `truck` if its computer is another.",
    ),
    O.LEG_LIMIT_MISSING: Advice("A late movement goes on with a new time limit only.", "Add `limit_s`."),
    O.INCIDENT_REPORTER_NOT_ALLOWED: Advice(
        "An incident of this code is not for this party to report.",
        "The table of incidents has who may; an officer can report what it was told.",
    ),
    O.CONTAINERS_CANNOT_CHANGE: Advice(
        "Nothing on record has put the goods into other containers.",
        "Report the transfer of the goods first (`escort.incident`), or leave `containers` out.",
    ),
    O.MASS_CANNOT_CHANGE: Advice(
        "The goods are on the vehicle that was weighed.",
        "Name the other `vehicle` and its new seals, or leave `mass_g` out.",
    ),
    O.REPORT_AFTER_JOURNEY: Advice(
        "The report is about a time when the truck's part of this journey was over.",
        "Look at the device's clock. Where the truck was afterwards belongs to its next movement, or to none; a batch "
        "that runs on beyond the end is closed at the end, and signed anew.",
    ),
    O.REPORT_TOO_LATE: Advice(
        "The truck's part of this journey is over for longer than late reports are waited for (`late_report_s`).",
        "Keep the report: its signature holds without the ledger. The two authorities can agree on a longer time by a "
        "proposal, for what comes after.",
    ),
    O.REGISTRAR_KEY_IS_GOVERNED: Advice(
        "The key is of the registrar that an authority's own record names: both authorities decide about it.",
        "Propose the new key: `comity governance propose … --registrar-key`.",
    ),
    O.LEGAL_BASIS_UNKNOWN: Advice(
        "The register of legal bases does not have this agreement and article with this effective date.",
        "Look at `comity governance list`; cite one that is there, or propose to register it.",
    ),
    O.LEGAL_BASIS_NOT_EFFECTIVE: Advice(
        "The legal basis is registered, and its effective date has not come.",
        "Cite another, or recognise from that date on.",
    ),
    O.PROPOSAL_UNKNOWN: Advice("Nobody has made a proposal of this id.", "Look at the id, or propose it."),
    O.PROPOSAL_ALREADY_MADE: Advice("A proposal of this id was made before.", "Propose under another id."),
    O.PROPOSAL_TRANSITION_NOT_ALLOWED: Advice(
        "The proposal is in a state in which this cannot happen: it is approved, over, or in force.",
        "Read its state. What is in force is changed by another proposal.",
    ),
    O.PROPOSAL_ID_OF_OTHER_AUTHORITY: Advice(
        "The id begins with another authority's name or country.", "Begin it with your own."
    ),
    O.OPEN_PROPOSAL_LIMIT_REACHED: Advice(
        "The side has as many open proposals as one may have.", "Withdraw one, or wait until one is decided or lapses."
    ),
    O.PROPOSAL_DIFFERS: Advice(
        "The statement names another proposal than the one that stands under this id.",
        "Read the proposal on the ledger, and decide on that one by the hash of its statement.",
    ),
    O.SIDE_ALREADY_APPROVED: Advice(
        "A registrar of this authority has approved it; two of one authority are one side.",
        "Nothing: the other authority is awaited.",
    ),
    O.PROPOSAL_OF_OTHER_SIDE: Advice("The other side has proposed it.", "Reject it instead, or leave it to its side."),
    O.SIDE_ALREADY_WITHDREW: Advice(
        "This authority has said already that it wants the change back.", "Nothing: the other authority is awaited."
    ),
    O.EFFECT_HEIGHT_TOO_EARLY: Advice(
        "The height at which it is to take effect is closer than `effect_lead_blocks`.",
        "State a later height, or none: it then takes effect as early as it may.",
    ),
    O.CHANGE_TWICE: Advice("Two changes of the proposal are about one thing.", "Leave one of them out."),
    O.CHANGE_PENDING: Advice(
        "Another change of the same thing is approved and waits for its height.", "Propose anew once it is in force."
    ),
    O.CHANGE_SUPERSEDED: Advice(
        "What the change says it replaces is not what is in force now.", "Read what is in force and propose from there."
    ),
    O.CHANGE_WITHOUT_EFFECT: Advice("What the change would bring is in force already.", "Leave it out."),
    O.PARAMETER_UNKNOWN: Advice("There is no parameter of this name.", "The names are in the table of parameters."),
    O.PARAMETER_OUT_OF_LIMITS: Advice(
        "The value is not within the limits of the parameter.", "The limits are in the table of parameters."
    ),
    O.PARAMETERS_CONTRADICT: Advice(
        "The parameters would contradict each other afterwards.", "Change the one that it contradicts in one proposal."
    ),
    O.CONTRACT_VERSION_NOT_HIGHER: Advice(
        "A contract goes to a higher version only.", "Propose a version above the one in force."
    ),
    O.GOVERNED_AUTHORITY_UNKNOWN: Advice(
        "No authority of this name is a party of this network.", "Take the name from the genesis record."
    ),
    O.GOVERNED_KEY_MALFORMED: Advice(
        "The bytes are no public key of the kind that this change needs.", "Take the public key as its tool writes it."
    ),
    O.GOVERNED_KEY_TAKEN: Advice("The key is somebody's already.", "Make a new key: none serves twice."),
    O.MEMBERSHIP_CHANGE_MALFORMED: Advice(
        "The text is no change of the membership.", "Take it as `comity membership propose` writes it."
    ),
    O.MEMBERSHIP_CHANGE_OF_OTHER_NETWORK: Advice(
        "The change of the membership is for another network.", "Make it anew from this network's membership."
    ),
    O.MEMBERSHIP_SIGNATURE_MISSING: Advice(
        "The proposal changes the membership, and the signature of that change is not with it.",
        "Add `membership_signature`, by the key that signs the statement.",
    ),
    O.MEMBERSHIP_SIGNATURE_NOT_EXPECTED: Advice(
        "There is a signature of a change of the membership, and no such change.", "Leave it out."
    ),
    O.MEMBERSHIP_SIGNATURE_INVALID: Advice(
        "The signature of the change of the membership does not hold, or is not by the Ed25519 key of the statement.",
        "Sign the text of the change, byte for byte, with the registrar's Ed25519 key.",
    ),
    O.CERTIFICATE_UNKNOWN: Advice("No certificate of this number was issued.", "Look at the number, or issue it."),
    O.CERTIFICATE_ALREADY_ISSUED: Advice(
        "A certificate of this number was issued before.", "Issue it under its own number, and replace the other by it."
    ),
    O.CERTIFICATE_TRANSITION_NOT_ALLOWED: Advice(
        "The certificate is in a state in which this cannot happen.", "Read its state; an end stays an end."
    ),
    O.CERTIFICATE_COUNTRY_DIFFERS: Advice(
        "The number begins with another country than the one that issues.", "Begin it with the country of the issuer."
    ),
    O.CERTIFICATE_DECLARATION_UNKNOWN: Advice(
        "The goods are not declared with the authority that issues.", "Lodge the declaration first, or look at the UCR."
    ),
    O.CERTIFICATE_TIME_IS_OVER: Advice("The certificate would lapse before it is issued.", "Give a later time."),
    O.REPLACEMENT_NOT_IN_FORCE: Advice(
        "The certificate that is to hold in its place is not there, is over, or is for other goods.",
        "Issue it first, for the same declaration.",
    ),
    O.MOVEMENT_OF_OTHER_GOODS: Advice(
        "The movement does not carry the goods of the certificate's declaration.", "Look at the MRN."
    ),
    O.CONTRACT_VERSION_UNKNOWN: Advice(
        "The network has agreed on a version of this contract that the answering validator does not have.",
        "Tell the authority: its validators need a newer release. Keep what you signed and send it again after that.",
    ),
}


def advice_of(outcome: Outcome) -> Advice:
    """What there is to say of an outcome. LookupError for a number that somebody added without a word about it."""
    try:
        return ADVICE[outcome]
    except KeyError as error:
        raise LookupError(
            f"outcome {int(outcome)} {outcome.fact} has no row in contracts/advice.py: add one"
        ) from error


def kinds_by_outcome() -> dict[Outcome, tuple[str, ...]]:
    """Which kinds of statement can meet an outcome in their contract, by the declarations of the contracts."""
    found: dict[Outcome, dict[str, None]] = {}
    for contract in CONTRACTS.values():
        for machine in contract.machines:
            for (_, event), row in machine.transitions.items():
                kind = f"{contract.name}.{event}"
                own = [outcome for guard in row.guards for outcome in refusals(guard)]
                creates = (ABSENT, event) in machine.transitions
                met = (contract.exists,) if creates else (contract.unknown, *machine.no_state, machine.not_allowed)
                for outcome in (*met, *own):
                    found.setdefault(outcome, {})[kind] = None
    return {outcome: tuple(kinds) for outcome, kinds in found.items()}
