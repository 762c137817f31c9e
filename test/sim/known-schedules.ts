import type { Event, RecordKind, Schedule, Shape } from './schedule.ts'
import type { Fate } from './sim-network.ts'

interface KnownSchedule {
  /** What holds in it. */
  readonly shows: string
  readonly schedule: Schedule
}

interface Story {
  readonly shows: string
  /** What differs from one replica that serves one partition. */
  readonly shape?: Partial<Shape>
  readonly backlog?: readonly (readonly RecordKind[])[]
  readonly events?: readonly Event[]
  /** Seeds with which the story has once ended badly: with this code before it was mended, or with a mutant of it. */
  readonly lucks: readonly number[]
}

const SHAPE: Shape = {
  seed: 0,
  brokers: 1,
  partitions: 1,
  outputPartitions: 1,
  replicas: 1,
  sessions: 1,
  slots: 2,
  capacity: 2,
  maxInFlight: 8,
  maxInFlightTotal: 1_000,
  maxConcurrentCommits: 4,
  commitIntervalMs: 0,
}

const good = (count: number): RecordKind[] => Array(count).fill('good')

function records(after: number, partition: number, records: readonly RecordKind[], every = 0): Event {
  return { after, what: { kind: 'append', partition, records, upstream: 'none', every } }
}

/** The next request of this kind of the first replica meets with a fate. */
function fault(after: number, api: string, fate: Fate, skip = 0): Event {
  return { after, what: { kind: 'fault', replica: 0, fault: { api, skip, fate } } }
}

function pause(after: number, ms: number): Event {
  return { after, what: { kind: 'pause', replica: 0, ms, timersFirst: false } }
}

/** The brokers crash at the end of the next transaction. */
function crash(after: number, loses: 'all' | 'some'): Event {
  return { after, what: { kind: 'brokers crash', soon: true, loses, leaderlessMs: 0 } }
}

const STORIES: readonly Story[] = [
  {
    shows: 'a first offset that arrives late does not move the offset back',
    events: [
      fault(0, 'offsetcommit', { kind: 'late', delayMs: 650 }),
      records(0, 0, good(10), 80),
      records(1_000, 0, good(1)),
    ],
    lucks: [1, 2, 3],
  },
  {
    shows: 'a first offset is not committed in the name of a later generation, in which the partition is not ours',
    shape: { brokers: 2, partitions: 3, outputPartitions: 2, capacity: 3, maxInFlight: 100, maxInFlightTotal: 10 },
    backlog: [[], good(1), []],
    events: [
      { after: 22, what: { kind: 'pause', replica: 0, ms: 360, timersFirst: true } },
      fault(66, 'findcoordinator', { kind: 'late', delayMs: 583 }, 2),
      fault(64, 'offsetcommit', { kind: 'late', delayMs: 306 }, 2),
      { after: 590, what: { kind: 'start' } },
      { after: 2_189, what: { kind: 'plan', replica: 0, plan: 1 } },
    ],
    lucks: [680541329],
  },
  {
    shows: 'a topic whose metadata did not come at first is not taken for missing',
    backlog: [good(1)],
    events: [fault(0, 'metadata', { kind: 'unanswered' }, 1), records(1_000, 0, good(1))],
    lucks: [1],
  },
  {
    shows: 'a replica is ready though a partition left it before its task had begun',
    shape: { partitions: 2, outputPartitions: 2 },
    backlog: [good(1), good(1)],
    events: [
      fault(0, 'offsetfetch', { kind: 'late', delayMs: 490 }),
      { after: 50, what: { kind: 'start' } },
      records(1_000, 0, good(1)),
    ],
    lucks: [1, 3, 5],
  },
  {
    shows: 'an end of transaction that arrives late does not end the next one',
    shape: { brokers: 2 },
    events: [
      records(0, 0, good(200), 5),
      fault(200, 'endtxn', { kind: 'late', delayMs: 540 }),
      fault(600, 'endtxn', { kind: 'late', delayMs: 540 }),
      records(1_500, 0, good(1)),
    ],
    lucks: [4, 8, 10],
  },
  {
    shows: 'a new task of the same replica waits for the end of the last transaction before it reads the offset',
    shape: { brokers: 2 },
    events: [records(0, 0, good(120), 25), pause(300, 1_300), records(3_000, 0, good(1))],
    lucks: [2, 3, 7],
  },
  {
    shows: 'what a fenced producer carries is not taken for committed',
    backlog: [good(5)],
    events: [fault(0, 'initproducerid', { kind: 'doubled' }), records(300, 0, good(1))],
    lucks: [1],
  },
  {
    shows: 'a transaction that lost its markers while its task was idle is ended where the next one does not write',
    events: [crash(300, 'all'), records(0, 0, ['garbage']), records(1_000, 0, good(1))],
    lucks: [5, 10, 13],
  },
  {
    shows:
      'how a transaction ended is known though the coordinator has forgotten it in an initialisation without answer',
    events: [
      crash(300, 'some'),
      records(0, 0, ['good', 'garbage']),
      fault(40, 'initproducerid', { kind: 'unanswered' }),
      records(1_000, 0, good(1)),
    ],
    lucks: [2, 11, 98],
  },
  {
    shows: 'an end that is said again goes on where it got no answer, and is not aborted',
    events: [
      crash(300, 'some'),
      records(0, 0, ['good', 'garbage']),
      fault(40, 'endtxn', { kind: 'refused' }),
      records(1_000, 0, good(1)),
    ],
    lucks: [2, 11, 98],
  },
  {
    shows: 'an end that is said again, and loses its markers as well, is said once more',
    events: [crash(300, 'all'), records(0, 0, good(1)), crash(130, 'all'), records(1_000, 0, good(1))],
    lucks: [536],
  },
  {
    shows: 'what another owner began while an end was said again is ended again as well',
    shape: { partitions: 2, outputPartitions: 2 },
    backlog: [good(3), good(3)],
    events: [
      { after: 2_000, what: { kind: 'brokers crash', soon: false, loses: 'all', leaderlessMs: 400 } },
      { after: 12, what: { kind: 'start' } },
      records(0, 0, good(1)),
      records(0, 1, good(1)),
    ],
    lucks: [700],
  },
  {
    shows: 'a fetch from before a start over is dropped',
    shape: { partitions: 2, outputPartitions: 2, capacity: 1 },
    backlog: [good(1), []],
    events: [
      records(0, 1, ['poison', 'garbage', 'good', 'garbage', 'good', 'good', 'good'], 80),
      pause(87, 1_000),
      { after: 100, what: { kind: 'start' } },
      { after: 110, what: { kind: 'kill', replica: 1 } },
      pause(10, 1_000),
      records(12, 0, good(2)),
      fault(78, 'addpartitionstotxn', { kind: 'unanswered' }),
    ],
    lucks: [245585109, 1, 9],
  },
]

/** Short schedules, most of them found by exploration and made shorter, in which the code or a mutant of it failed. */
export const KNOWN: readonly KnownSchedule[] = STORIES.flatMap(({ shows, shape, backlog = [[]], events = [], lucks }) =>
  lucks.map(seed => ({ shows, schedule: { shape: { ...SHAPE, ...shape, seed }, backlog, events } })),
)
