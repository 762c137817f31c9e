import fc from 'fast-check'
import type { RolloutPlan } from '../../src/core/rollout.ts'
import { type Fate, type Fault, textOf } from './sim-network.ts'

/**
 * What an input record is: `good` and `schema` (good once a schema was loaded) become predictions, `garbage` and
 * `poison`, which the model refuses, dead letters.
 */
export type RecordKind = 'good' | 'schema' | 'garbage' | 'poison'

/** The transaction in which a producer upstream writes records, if any. */
export type Upstream = 'none' | 'committed' | 'aborted'

/** The constants of one schedule. */
export interface Shape {
  /** Of all luck that is not in the events: latencies, jitter, the time of a run. */
  readonly seed: number
  readonly brokers: number
  readonly partitions: number
  /** Of the topics for predictions and dead letters. */
  readonly outputPartitions: number
  readonly replicas: number
  readonly sessions: number
  readonly slots: number
  /** Rows of a micro-batch. */
  readonly capacity: number
  readonly maxInFlight: number
  /** Over all partitions of a replica. */
  readonly maxInFlightTotal: number
  readonly maxConcurrentCommits: number
  readonly commitIntervalMs: number
}

/** Something that happens. `replica` and `partition` choose among what is there. */
export type Happening =
  | {
      readonly kind: 'append'
      readonly partition: number
      readonly records: readonly RecordKind[]
      readonly upstream: Upstream
      /** Milliseconds from one record to the next; 0 and in transactions all come at once. */
      readonly every: number
    }
  | { readonly kind: 'fault'; readonly replica: number; readonly fault: Fault }
  | { readonly kind: 'start' }
  /** A replica hears of another plan: a place in PLANS. Each hears of it in its own time, so they may differ. */
  | { readonly kind: 'plan'; readonly replica: number; readonly plan: number }
  | { readonly kind: 'kill' | 'drain'; readonly replica: number }
  | { readonly kind: 'pause'; readonly replica: number; readonly ms: number; readonly timersFirst: boolean }
  | { readonly kind: 'crash'; readonly replica: number; readonly runs: number }
  | { readonly kind: 'schema away'; readonly replica: number; readonly loads: number }
  | { readonly kind: 'leader moves'; readonly topic: number; readonly partition: number; readonly node: number }
  /** A crash of the brokers loses markers, now or as soon as there are some to lose, more or less. */
  | {
      readonly kind: 'brokers crash'
      readonly soon: boolean
      readonly loses: 'all' | 'some'
      readonly leaderlessMs: number
    }

/** A happening, `after` ms from the one before. */
export interface Event {
  readonly after: number
  readonly what: Happening
}

export interface Schedule {
  readonly shape: Shape
  /** What each partition holds at the start; the arrays beyond `shape.partitions` are left out. */
  readonly backlog: readonly (readonly RecordKind[])[]
  readonly events: readonly Event[]
}

/** The first one is in effect when a replica starts. */
export const PLANS: readonly RolloutPlan[] = [
  { stable: '3', shadows: [] },
  { stable: '4', shadows: [] },
  { stable: '3', canary: { version: '4', percent: 40 }, shadows: [] },
  { stable: '4', shadows: ['3'] },
]

const MAX_PARTITIONS = 3
/** Replicas at once. */
export const MAX_REPLICAS = 3

const recordKind: fc.Arbitrary<RecordKind> = fc.oneof(
  { weight: 12, arbitrary: fc.constant('good' as const) },
  { weight: 2, arbitrary: fc.constant('garbage' as const) },
  { weight: 1, arbitrary: fc.constantFrom('poison', 'schema') },
)

const replica = fc.nat(MAX_REPLICAS - 1)
const partition = fc.nat(MAX_PARTITIONS - 1)

/** In time, in time but when others have moved on, right after the client gave up, and much later. */
const lateness = fc.oneof(
  { weight: 1, arbitrary: fc.integer({ min: 5, max: 100 }) },
  { weight: 2, arbitrary: fc.integer({ min: 200, max: 490 }) },
  { weight: 4, arbitrary: fc.integer({ min: 500, max: 620 }) },
  { weight: 1, arbitrary: fc.integer({ min: 600, max: 4_000 }) },
)

const fate: fc.Arbitrary<Fate> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('unanswered', 'cut', 'lost', 'refused', 'doubled') }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('late'), delayMs: lateness }) },
)

const api = fc.oneof(
  { weight: 4, arbitrary: fc.constant('endtxn') },
  { weight: 4, arbitrary: fc.constantFrom('initproducerid', 'produce', 'txnoffsetcommit') },
  { weight: 3, arbitrary: fc.constantFrom('addpartitionstotxn', 'addoffsetstotxn', 'offsetfetch', 'fetch') },
  {
    weight: 3,
    arbitrary: fc.constantFrom('any', 'offsetcommit', 'listoffsets', 'joingroup', 'syncgroup', 'heartbeat'),
  },
  { weight: 1, arbitrary: fc.constantFrom('metadata', 'findcoordinator', 'leavegroup', 'describetransactions') },
)

const fault: fc.Arbitrary<Fault> = fc.record({ api, skip: fc.nat(3), fate })

/** Short of a session's end, and beyond it. */
const pause = fc.oneof(fc.integer({ min: 20, max: 900 }), fc.integer({ min: 1_000, max: 4_000 }))

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      partition,
      records: fc.array(recordKind, { minLength: 1, maxLength: 12, size: 'max' }),
      upstream: fc.oneof(
        { weight: 4, arbitrary: fc.constant('none' as const) },
        { weight: 1, arbitrary: fc.constantFrom('committed', 'aborted') },
      ),
      every: fc.constantFrom(0, 0, 8, 30, 80),
    }),
  },
  { weight: 14, arbitrary: fc.record({ kind: fc.constant('fault' as const), replica, fault }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('start' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('plan' as const), replica, plan: fc.nat(PLANS.length - 1) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('kill', 'drain'), replica }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pause' as const), replica, ms: pause, timersFirst: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('crash' as const), replica, runs: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('schema away' as const), replica, loads: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('leader moves' as const), topic: fc.nat(2), partition, node: fc.nat(1) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('brokers crash' as const),
      soon: fc.boolean(),
      loses: fc.constantFrom('all', 'some'),
      leaderlessMs: fc.constantFrom(0, 50, 400),
    }),
  },
)

/** Most within a transaction's time, some long enough to see the end of a session or of a transaction. */
const after = fc.oneof(
  { weight: 6, arbitrary: fc.nat(12) },
  { weight: 3, arbitrary: fc.integer({ min: 10, max: 120 }) },
  { weight: 2, arbitrary: fc.integer({ min: 100, max: 700 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1_000, max: 5_000 }) },
)

const shape: fc.Arbitrary<Shape> = fc
  .record({
    seed: fc.noShrink(fc.nat(0x7fffffff)),
    brokers: fc.integer({ min: 1, max: 2 }),
    partitions: fc.integer({ min: 1, max: MAX_PARTITIONS }),
    /** Less than zero: as many as the input. */
    outputPartitions: fc.oneof(
      { weight: 5, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: MAX_PARTITIONS }) },
    ),
    replicas: fc.integer({ min: 1, max: 2 }),
    sessions: fc.integer({ min: 1, max: 3 }),
    slots: fc.integer({ min: 2, max: 5 }),
    capacity: fc.integer({ min: 1, max: 4 }),
    maxInFlight: fc.constantFrom(8, 3, 100),
    maxInFlightTotal: fc.constantFrom(1_000, 10),
    maxConcurrentCommits: fc.constantFrom(4, 1),
    commitIntervalMs: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(50) }),
  })
  .map(drawn => ({ ...drawn, outputPartitions: drawn.outputPartitions || drawn.partitions }))

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  shape,
  backlog: fc.array(fc.array(recordKind, { maxLength: 30, size: 'max' }), {
    minLength: MAX_PARTITIONS,
    maxLength: MAX_PARTITIONS,
  }),
  events: fc.array(fc.record({ after, what: happening }), { maxLength: 24, size: 'max' }),
})

/** A schedule for people: the constants that matter, then a line for each event. */
export function describe({ shape, backlog, events }: Schedule): string {
  const { seed, ...constants } = shape
  const records = backlog.slice(0, shape.partitions).map((kinds, p) => `  in/${p} holds ${summary(kinds)}`)
  let at = 0
  const lines = events.map(({ after, what }) => {
    at += after
    return `  ${String(at).padStart(6)} ms  ${describeHappening(what)}`
  })
  const constant = Object.entries(constants).map(([name, value]) => `${name} ${value}`)
  return [`  ${constant.join(', ')}; luck ${seed}`, ...records, ...lines].join('\n')
}

export function describeHappening(what: Happening): string {
  switch (what.kind) {
    case 'append': {
      const { upstream, every } = what
      const pace = every === 0 ? '' : `, one every ${every} ms`
      const how = upstream === 'none' ? pace : `, in a transaction that is ${upstream}`
      return `in/${what.partition} gets ${summary(what.records)}${how}`
    }
    case 'fault': {
      const { api, skip, fate } = what.fault
      const which = skip === 0 ? 'the next' : `the next but ${skip}`
      return `replica ${what.replica}: ${which} ${api === 'any' ? 'request' : api} is ${textOf(fate)}`
    }
    case 'start':
      return 'a replica starts'
    case 'plan':
      return `replica ${what.replica} adopts ${JSON.stringify(PLANS[what.plan])}`
    case 'kill':
      return `replica ${what.replica} is killed`
    case 'drain':
      return `replica ${what.replica} drains and leaves`
    case 'pause':
      return `replica ${what.replica} is stopped for ${what.ms} ms, then ${what.timersFirst ? 'timers' : 'answers'} come first`
    case 'crash':
      return `replica ${what.replica}: the next ${what.runs} runs crash`
    case 'schema away':
      return `replica ${what.replica}: the next ${what.loads} schema loads fail`
    case 'leader moves':
      return `${['in', 'out', 'dead'][what.topic]}/${what.partition} is led by broker ${what.node + 1}, if there is one`
    case 'brokers crash':
      return `the brokers crash${what.soon ? ' at the next end of a transaction' : ''} and lose ${what.loses === 'all' ? "whole transactions' markers" : 'some markers'}; for ${what.leaderlessMs} ms partitions have no leader`
  }
}

/** `3 good, garbage, 2 good` */
function summary(kinds: readonly RecordKind[]): string {
  const runs: { kind: RecordKind; count: number }[] = []
  for (const kind of kinds) {
    const last = runs.at(-1)
    if (last?.kind === kind) last.count++
    else runs.push({ kind, count: 1 })
  }
  return runs.map(({ kind, count }) => (count === 1 ? kind : `${count} ${kind}`)).join(', ') || 'nothing'
}
