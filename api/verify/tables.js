// Generated from the contracts (api/verify_tables.py): `make generate` writes this file.

export const ROWS = {
  "- plan": [
    "planned"
  ],
  "aborted discharge": [
    "discharged"
  ],
  "aborted position": [
    "aborted"
  ],
  "aborted recover": [
    "recovery"
  ],
  "arrived position": [
    "arrived"
  ],
  "arrived unload": [
    "discharged",
    "unloaded"
  ],
  "at_border incident": [
    "at_border",
    "held",
    "aborted"
  ],
  "at_border offer": [
    "offered"
  ],
  "at_border position": [
    "at_border"
  ],
  "at_border turn_back": [
    "returned"
  ],
  "discharged position": [
    "discharged"
  ],
  "discrepancy discharge": [
    "discharged"
  ],
  "discrepancy position": [
    "discrepancy"
  ],
  "discrepancy recover": [
    "recovery"
  ],
  "disputed position": [
    "disputed"
  ],
  "disputed resolve": [
    "disputed",
    "handed_over",
    "returned"
  ],
  "handed_over arrive": [
    "arrived"
  ],
  "handed_over incident": [
    "handed_over",
    "held",
    "aborted"
  ],
  "handed_over position": [
    "handed_over"
  ],
  "held abort": [
    "aborted"
  ],
  "held position": [
    "held"
  ],
  "held resume": [
    "started",
    "at_border",
    "offered",
    "handed_over"
  ],
  "loaded refuse_start": [
    "refused"
  ],
  "loaded seal": [
    "sealed"
  ],
  "offered accept": [
    "handed_over"
  ],
  "offered accept_with_differences": [
    "disputed"
  ],
  "offered incident": [
    "offered",
    "held",
    "aborted"
  ],
  "offered position": [
    "offered"
  ],
  "offered refuse_handover": [
    "at_border"
  ],
  "overdue position": [
    "overdue"
  ],
  "overdue resolve_overdue": [
    "started",
    "handed_over",
    "aborted",
    "recovery"
  ],
  "planned load": [
    "loaded"
  ],
  "planned refuse_start": [
    "refused"
  ],
  "recovery discharge": [
    "discharged"
  ],
  "recovery position": [
    "recovery"
  ],
  "returned discharge": [
    "discharged"
  ],
  "returned position": [
    "returned"
  ],
  "sealed refuse_start": [
    "refused"
  ],
  "sealed start": [
    "started"
  ],
  "started incident": [
    "started",
    "held",
    "aborted"
  ],
  "started position": [
    "started"
  ],
  "started reach_border": [
    "started",
    "at_border"
  ],
  "unloaded discrepancy": [
    "discrepancy"
  ],
  "unloaded position": [
    "unloaded"
  ]
};

export const DEADLINES = {
  "started": "overdue",
  "handed_over": "overdue",
  "offered": "at_border"
};

export const INCIDENT_CONSEQUENCES = {
  "01": "held",
  "02": "held",
  "03": "same",
  "04": "same",
  "05": "same",
  "06": "same",
  "07": "held",
  "deviation": "same",
  "seal_broken": "held",
  "goods_transferred": "held",
  "imminent_danger": "held",
  "accident": "held",
  "vehicle_changed": "held",
  "goods_destroyed": "aborted"
};

export const VEHICLE_CHANGES = [
  "goods_transferred",
  "vehicle_changed"
];

export const SEAL_BREAKING = [
  "01",
  "02",
  "seal_broken"
];

export const MOVEMENT_PROGRESS = [
  "state",
  "since_ms",
  "since_statement",
  "by",
  "truck",
  "vehicle",
  "came_from",
  "deadline_s",
  "remaining_s",
  "loaded_mass_g",
  "truck_at_border_ms",
  "gate_at_border_ms",
  "differences",
  "departure_decision",
  "destination_decision",
  "vehicle_changed",
  "incident_count",
  "findings",
  "reason",
  "guarantee_free_ms"
];

export const EVENTS = {
  "declaration.lodge": "Declaration lodged",
  "declaration.register": "Declaration registered",
  "declaration.reject": "Declaration rejected",
  "declaration.accept": "Declaration accepted",
  "declaration.control": "Control ordered",
  "declaration.control_result": "Result of the control",
  "declaration.refuse": "Release refused",
  "declaration.request_amendment": "Amendment requested",
  "declaration.accept_amendment": "Amendment granted",
  "declaration.refuse_amendment": "Amendment refused",
  "declaration.release": "Goods released",
  "declaration.clear": "Exit confirmed, procedure ended",
  "declaration.request_invalidation": "Withdrawal requested",
  "declaration.refuse_invalidation": "Withdrawal refused",
  "declaration.invalidate": "Declaration withdrawn",
  "declaration.recognise": "Recognised by the partner",
  "declaration.refuse_recognition": "Recognition refused",
  "declaration.suspend_recognition": "Recognition suspended",
  "declaration.resume_recognition": "Recognition resumed",
  "declaration.withdraw_recognition": "Recognition withdrawn",
  "escort.plan": "Movement planned",
  "escort.load": "Loaded and weighed",
  "escort.seal": "Sealed",
  "escort.start": "Started",
  "escort.refuse_start": "Start refused",
  "escort.reach_border": "Border reached",
  "escort.offer": "Offered for handover",
  "escort.accept": "Accepted: custody passes",
  "escort.accept_with_differences": "Differences found",
  "escort.refuse_handover": "Handover refused",
  "escort.resolve": "Decision in the dispute",
  "escort.turn_back": "Turned back",
  "escort.arrive": "Arrived",
  "escort.unload": "Unloaded",
  "escort.discrepancy": "Discrepancy recorded",
  "escort.recover": "Recovery begun",
  "escort.discharge": "Discharged",
  "escort.incident": "Incident",
  "escort.resume": "Resumed",
  "escort.abort": "Aborted",
  "escort.resolve_overdue": "Decision on the late movement"
};
