-- The searchable copy of the logs. The logs are the truth: every table here may be dropped, and
-- the projector fills it again from offset 0. Columns named at or …_at hold the time of the
-- causing record, as every service counts time, except checkpoints.at.

-- How far each log partition has been copied, changed in the same transaction as the rows.
CREATE TABLE positions (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- One row for each event of each log: intake, registry, cases, approvals, deadlines, audit.
CREATE TABLE events (
    topic      text        NOT NULL,
    partition  integer     NOT NULL,
    "offset"   bigint      NOT NULL,
    case_id    text        NOT NULL, -- the record's key: on registry and audit it is kind/name
    sequence   bigint      NOT NULL, -- the number of the event within its case and log, from 1
    type       text        NOT NULL,
    version    integer     NOT NULL, -- of the schema that data was written with
    at         timestamptz NOT NULL,
    cause      text        NOT NULL, -- generation/topic/partition/offset of what led to it
    actor      text        NOT NULL,
    strength   text        NOT NULL, -- how the actor's identity is known
    definition text        NOT NULL, -- the pins it was decided under: name@version#digest
    matrix     text        NOT NULL,
    data       jsonb       NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX events_case ON events (case_id, at);
CREATE INDEX events_type ON events (type, at);

-- One row for each case, as the router's log tells it.
CREATE TABLE cases (
    case_id        text PRIMARY KEY,
    definition     text,
    title          text,
    source         text,
    requester      text,
    phase          text,
    outcome        text,
    is_faulted     boolean,
    status         text GENERATED ALWAYS AS (
        CASE WHEN is_faulted THEN 'faulted'
             WHEN outcome IS NOT NULL THEN 'closed'
             ELSE 'open' END
    ) STORED,
    amount         text, -- of its latest gate; exact decimal text, never a float
    currency       text,
    opened_at      timestamptz,
    closed_at      timestamptz,
    partition      integer NOT NULL,
    updated_offset bigint  NOT NULL -- of the record on cases/partition that last changed it
);
CREATE INDEX cases_status ON cases (status, opened_at);

-- One row for each revision of each gate. The router and approval each fill columns of their
-- own, so it does not matter which of the two logs is read first.
CREATE TABLE gates (
    case_id        text    NOT NULL,
    gate_id        text    NOT NULL,
    revision       integer NOT NULL,
    -- from cases
    phase          text,
    amount         text,
    currency       text,
    requester      text,
    requested_at   timestamptz,
    consumed_at    timestamptz, -- when the decision took effect
    voided_at      timestamptz,
    void_reason    text,
    asked_offset   bigint,
    -- from approvals
    matrix         text,
    "row"          text,
    roles          jsonb,       -- who must decide now, and who did once it is decided
    sla            text,
    due_at         timestamptz,
    level          integer,     -- the rung, from 0
    queue          text,        -- where it waits when no row of the matrix fits
    opened_at      timestamptz,
    by             jsonb,
    choice         text,
    reason         text,
    decided_at     timestamptz, -- when the decision was recorded
    decided        boolean GENERATED ALWAYS AS (decided_at IS NOT NULL) STORED,
    decided_offset bigint,
    PRIMARY KEY (case_id, gate_id, revision)
);
CREATE INDEX gates_due ON gates (due_at) WHERE decided_at IS NULL;

-- Every signed checkpoint; its note can be checked with the public key alone.
CREATE TABLE checkpoints (
    number   bigint PRIMARY KEY,
    note     text        NOT NULL,
    at       timestamptz NOT NULL, -- when the log took it
    "offset" bigint      NOT NULL
);
