import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import {
  type Reservation,
  RunError,
  type RunFailure,
  type RunTimings,
  type SessionChoice,
} from '../../src/core/inference.ts'
import { type IsolatedRun, type IsolationPort, runIsolated } from '../../src/pipeline/isolation.ts'
import { propertyOptions } from './property-options.ts'

interface Scene {
  readonly rows: number
  /** How each bad row fails a run that it is part of. */
  readonly guilty?: ReadonlyMap<number, RunFailure>
  readonly sessions?: number
  /** Sessions that refuse every row, a good one too, until they are replaced. */
  readonly sick?: readonly number[]
  /** Whether those are so again at once. */
  readonly chronic?: boolean
  /** A row after which its session is sick. */
  readonly sickening?: number
  /** Runs, by number, that fail without a reason of their own, and how. */
  readonly shaky?: ReadonlyMap<number, RunFailure>
  /** Threads that may hang in this process, and those that do when the batch begins. */
  readonly most?: number
  readonly hung?: number
}

/** Sessions that take turns, and remember what they were asked. */
class Sessions implements IsolationPort {
  readonly #scene: Scene
  readonly #sick: Set<number>
  readonly distrusted: number[] = []
  /** Rows whose output is there. */
  readonly outputs = new Set<number>()
  runs = 0
  /** Threads that died or hang. */
  lost = 0
  /** Threads that hang. */
  hanging: number
  probes = 0
  released = 0
  #next = 0

  constructor(scene: Scene) {
    this.#scene = scene
    this.#sick = new Set(scene.sick)
    this.hanging = scene.hung ?? 0
  }

  hung() {
    return { count: this.hanging, most: this.#scene.most ?? Number.POSITIVE_INFINITY }
  }

  async run(first: number, count: number, choice?: SessionChoice): Promise<RunTimings> {
    const { rows, guilty, shaky } = this.#scene
    assert.ok(first >= 0 && count >= 1 && first + count <= rows, `rows ${first} to ${first + count} of ${rows}`)
    const session = this.#choose(choice)
    const here = Array.from({ length: count }, (_, i) => first + i)
    const chance = shaky?.get(this.runs)
    this.runs++
    if (chance !== undefined) this.#fail(chance, 'chance', session)
    this.#refuseIfSick(session)
    if (here.includes(this.#scene.sickening ?? -1)) this.#sick.add(session)
    this.#refuseIfSick(session)
    const bad = here.find(row => guilty?.has(row))
    if (bad !== undefined) this.#fail(guilty!.get(bad)!, `row ${bad}`, session)
    for (const row of here) this.outputs.add(row)
    return { computeMs: 1, waitMs: 0, provider: 'cpu', session }
  }

  async probe(session: number): Promise<void> {
    this.probes++
    this.#refuseIfSick(session)
  }

  async reserve(choice?: SessionChoice): Promise<Reservation> {
    return { session: this.#choose(choice), release: () => this.released++ }
  }

  distrust(session: number): void {
    this.distrusted.push(session)
    if (!this.#scene.chronic) this.#sick.delete(session)
  }

  #choose(choice: SessionChoice | undefined): number {
    const { sessions = 1 } = this.#scene
    if (choice !== undefined && 'only' in choice) return choice.only
    const session = this.#next++ % sessions
    return sessions > 1 && session === choice?.not ? this.#next++ % sessions : session
  }

  #refuseIfSick(session: number): void {
    if (this.#sick.has(session)) this.#fail('inference-failed', 'CUDA error 700', session)
  }

  #fail(how: RunFailure, why: string, session: number): never {
    if (how !== 'inference-failed') this.lost++
    if (how === 'session-hung') this.hanging++
    throw new RunError(how, why, session)
  }
}

async function trial(scene: Scene): Promise<{ sessions: Sessions } & IsolatedRun> {
  const sessions = new Sessions(scene)
  return { sessions, ...(await runIsolated(sessions, scene.rows)) }
}

const VERDICTS: Record<RunFailure, string> = {
  'inference-failed': 'inference-failed',
  'session-crashed': 'inference-crashed',
  'session-hung': 'inference-hung',
}

/** Exactly the guilty rows are blamed, each for what it does, and the outputs of all others are there. */
function assertJust(
  { rows, guilty = new Map() }: Scene,
  { faults, sessions, timings }: Awaited<ReturnType<typeof trial>>,
) {
  const sorted = (keys: Iterable<number>) => [...keys].sort((a, b) => a - b)
  assert.deepEqual(sorted(faults?.keys() ?? []), sorted(guilty.keys()))
  for (const [row, fault] of faults ?? []) {
    assert.equal(fault.code, VERDICTS[guilty.get(row)!])
    assert.match(fault.message, new RegExp(`this row: .*row ${row}$`))
  }
  assert.equal(sessions.outputs.size, rows - guilty.size)
  for (const row of guilty.keys()) assert.ok(!sessions.outputs.has(row))
  assert.equal(timings === undefined, guilty.size === rows)
}

const anyFailure = fc.constantFrom<RunFailure>('inference-failed', 'session-crashed', 'session-hung')

/** Batches with up to six bad rows at any place, of the kinds given, on one to three sessions. */
const scenes = (kinds: fc.Arbitrary<RunFailure>, maxRows = 200) =>
  fc.integer({ min: 1, max: maxRows }).chain(rows => {
    const entries = fc.uniqueArray(fc.tuple(fc.nat(rows - 1), kinds), { maxLength: 6, selector: ([row]) => row })
    const guilty = entries.map(list => new Map(list))
    return fc.record({ rows: fc.constant(rows), guilty, sessions: fc.integer({ min: 1, max: 3 }) })
  })

test('a good batch takes one run', async () => {
  const { sessions, faults, timings } = await trial({ rows: 64 })
  assert.deepEqual([sessions.runs, sessions.probes, faults], [1, 0, undefined])
  assert.deepEqual(timings, { computeMs: 1, waitMs: 0, provider: 'cpu', session: 0 })
})

test('exactly the guilty rows fault, whether they are refused, kill the thread or hang', async () => {
  await fc.assert(
    fc.asyncProperty(scenes(anyFailure), async scene => {
      const result = await trial(scene)
      assertJust(scene, result)
      assert.deepEqual(result.sessions.distrusted, [])
    }),
    propertyOptions,
  )
})

test('the number of runs is bounded by the rows refused, not by the size of the batch', async () => {
  await fc.assert(
    fc.asyncProperty(scenes(fc.constant('inference-failed')), async ({ rows, guilty, sessions }) => {
      const bad = guilty.size
      const { runs, probes } = (await trial({ rows, guilty, sessions })).sessions
      assert.ok(runs <= 2 + bad + 2 * bad * Math.ceil(Math.log2(rows)), `${runs} runs for ${bad} of ${rows}`)
      assert.equal(probes, 2 * bad) // before and after
    }),
    propertyOptions,
  )
})

test('a row that kills costs at most four threads, another three; one that hangs three and two', async () => {
  const kinds = ['session-crashed', 'session-hung'] as const
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...kinds).chain(kind => scenes(fc.constant(kind), 1024).map(scene => ({ ...scene, kind }))),
      async ({ rows, guilty, sessions, kind }) => {
        const each = kind === 'session-crashed' ? 3 : 2
        const { lost, runs } = (await trial({ rows, guilty, sessions })).sessions
        assert.ok(lost <= 1 + each * guilty.size, `${lost} threads for ${guilty.size} of ${rows}`)
        assert.ok(runs <= 1 + 32 + guilty.size * 33, `${runs} runs for ${guilty.size} of ${rows}`)
      },
    ),
    propertyOptions,
  )
})

test('failures that pass harm nobody: no row is blamed that would not fail twice in a row', async () => {
  const chance = fc.constantFrom<RunFailure>('inference-failed', 'session-crashed')
  const shakyRuns = fc.uniqueArray(fc.tuple(fc.nat(40), chance), { maxLength: 12, selector: ([run]) => run })
  await fc.assert(
    fc.asyncProperty(scenes(anyFailure), shakyRuns, async (scene, drawn) => {
      const runs = new Map(drawn)
      const shaky = new Map(drawn.filter(([run]) => !runs.has(run - 1)))
      const { faults, sessions } = await trial({ ...scene, shaky })
      assert.deepEqual(new Set(faults?.keys()), new Set(scene.guilty.keys()))
      assert.equal(sessions.outputs.size, scene.rows - scene.guilty.size)
    }),
    propertyOptions,
  )
})

/** Batches with any number of rows that hang, and threads enough for some of them. */
const crowds = fc.integer({ min: 1, max: 300 }).chain(rows => {
  const hanging = fc.uniqueArray(fc.nat(rows - 1), { maxLength: 40 })
  const guilty = hanging.map(list => new Map(list.map(row => [row, 'session-hung' as const])))
  return fc.record({ rows: fc.constant(rows), guilty, most: fc.integer({ min: 3, max: 20 }) })
})

test('a batch is settled with the threads there are, however many of its rows hang; whom that cannot clear is told', async () => {
  await fc.assert(
    fc.asyncProperty(crowds, async scene => {
      const { faults, sessions } = await trial(scene)
      const { rows, guilty, most } = scene
      assert.ok(sessions.hanging <= most, `${sessions.hanging} of ${most}`)
      for (const row of guilty.keys()) assert.equal(faults!.get(row)!.code, 'inference-hung')
      for (let row = 0; row < rows; row++) assert.notEqual(sessions.outputs.has(row), faults?.has(row) ?? false)
      const inDoubt = [...(faults ?? [])].filter(([row]) => !guilty.has(row))
      for (const [, { message }] of inDoubt) assert.match(message, /not found out, because \d+ session threads hang/)
      if (2 + 2 * guilty.size <= most) assert.deepEqual(inDoubt, [])
    }),
    propertyOptions,
  )
})

test('one with rows of all kinds, too', async () => {
  await fc.assert(
    fc.asyncProperty(scenes(anyFailure), fc.integer({ min: 3, max: 8 }), async (scene, most) => {
      const { faults, sessions } = await trial({ ...scene, most })
      for (const row of scene.guilty.keys()) assert.ok(faults!.has(row))
      for (let row = 0; row < scene.rows; row++) assert.notEqual(sessions.outputs.has(row), faults?.has(row) ?? false)
    }),
    propertyOptions,
  )
})

test('four hanging rows in a batch of 64 are found with the threads that a process bears', async () => {
  const guilty = new Map([5, 20, 31, 60].map(row => [row, 'session-hung' as const]))
  const { faults, sessions } = await trial({ rows: 64, guilty, most: 16 })
  assert.deepEqual([...faults!.keys()], [5, 20, 31, 60])
  for (const { message } of faults!.values())
    assert.match(message, /^The model does not return from this row: row \d+$/)
  assert.equal(sessions.hanging, 9)
})

test('rows that cannot be told apart any more are named as a group', async () => {
  const guilty = new Map([0, 9].map(row => [row, 'session-hung' as const]))
  const { faults } = await trial({ rows: 64, guilty, most: 3 })
  assert.deepEqual([...faults!.keys()], [0, 1, ...Array.from({ length: 62 }, (_, i) => i + 2)])
  assert.equal(
    faults!.get(1)!.message,
    'The model does not return from this row or the one that ran with it: row 0. ' +
      'Which one was not found out, because 3 session threads hang already',
  )
  assert.match(
    faults!.get(2)!.message,
    /^The model does not return from this row or one of the 61 that ran with it: row 9/,
  )
})

test('a batch that hangs when other batches have used the threads up is given back', async () => {
  const guilty = new Map([[3, 'session-hung' as const]])
  await assert.rejects(trial({ rows: 64, guilty, most: 16, hung: 14 }), {
    code: 'sessions-hung',
    message: /^15 session threads hang in the runtime.* at most 16/,
  })
  assert.equal((await trial({ rows: 64, guilty, most: 16, hung: 13 })).faults!.get(3)!.code, 'inference-hung')
})

test('a good row that no session took says nothing of the session', async () => {
  const sessions = new Sessions({ rows: 1, guilty: new Map([[0, 'inference-failed']]) })
  const probe = () => Promise.reject(new SluiceError('session-crashed', 'the session pool was closed'))
  await assert.rejects(runIsolated(Object.assign(sessions, { probe }), 1), { message: 'the session pool was closed' })
  assert.deepEqual(sessions.distrusted, [])
})

test('a session that dies or hangs in the good row is replaced already, and not distrusted on top', async () => {
  for (const failure of ['session-crashed', 'session-hung'] as const) {
    const sessions = new Sessions({ rows: 1, guilty: new Map([[0, 'inference-failed']]) })
    const probe = (session: number) => Promise.reject(new RunError(failure, 'it is lost', session))
    await assert.rejects(runIsolated(Object.assign(sessions, { probe }), 1), {
      message: /not to be trusted.*it is lost/,
    })
    assert.deepEqual(sessions.distrusted, [])
  }
})

test('a good row is not tried again when its hanging took the last thread', async () => {
  const sessions = new Sessions({ rows: 1, guilty: new Map([[0, 'inference-failed']]), most: 1 })
  let probes = 0
  const probe = (session: number) => {
    probes++
    sessions.hanging++
    return Promise.reject(new RunError('session-hung', 'it hangs', session))
  }
  await assert.rejects(runIsolated(Object.assign(sessions, { probe }), 1), { code: 'sessions-hung' })
  assert.equal(probes, 1)
})

test('sessions that refuse everything are found out and replaced, and no good row is called bad for it', async () => {
  const sick = fc.uniqueArray(fc.nat(2), { minLength: 1 })
  await fc.assert(
    fc.asyncProperty(scenes(anyFailure), sick, async (scene, drawn) => {
      const chosen = drawn.filter(session => session < scene.sessions)
      const result = await trial({ ...scene, sick: chosen })
      assertJust(scene, result)
      assert.ok(result.sessions.distrusted.every(session => chosen.includes(session)))
    }),
    propertyOptions,
  )
})

test('where no session is well, no row is blamed, and the batch is given back', async () => {
  for (const count of [1, 2, 3]) {
    const sick = Array.from({ length: count }, (_, session) => session)
    await assert.rejects(trial({ rows: 9, sessions: count, sick, chronic: true }), {
      code: 'session-crashed',
      message: /^Session \d is not to be trusted: it fails on a row that is known to be good: CUDA error 700$/,
    })
  }
})

test('a row that makes sessions sick is found out, too', async () => {
  for (const sessions of [1, 2, 3]) {
    for (const sickening of [0, 7, 15]) {
      const { faults, sessions: asked } = await trial({ rows: 16, sessions, sickening })
      assert.deepEqual([...faults!.keys()], [sickening])
      assert.equal(asked.outputs.size, 15)
      assert.ok(asked.distrusted.length > 0)
    }
  }
})

test('a session whose refusal another one overturns is examined, and kept when it takes the good row', async () => {
  const { sessions, faults } = await trial({ rows: 64, sessions: 2, shaky: new Map([[0, 'inference-failed']]) })
  assert.deepEqual([sessions.runs, sessions.probes, sessions.distrusted, faults], [2, 1, [], undefined])
})

test('and replaced when it does not', async () => {
  const { sessions, faults } = await trial({ rows: 64, sessions: 2, sick: [0] })
  assert.deepEqual([sessions.runs, sessions.distrusted, faults], [2, [0], undefined])
})

test('a session is given back whatever came of it', async () => {
  const { sessions } = await trial({ rows: 64, guilty: new Map([[3, 'session-crashed']]) })
  assert.equal(sessions.released, 1)
})

test('computing time is that of all runs that succeeded', async () => {
  const { sessions, timings } = await trial({ rows: 4, guilty: new Map([[0, 'inference-failed']]) })
  assert.deepEqual(timings, { computeMs: 2, waitMs: 0, provider: 'cpu', session: 0 }) // row 1, then rows 2 and 3
  assert.equal(sessions.runs, 7) // 0-3 twice, 0-1, 0 twice, 1, 2-3
})

test('a batch whose rows ran on several providers names them all', async () => {
  const sessions = new Sessions({ rows: 8, guilty: new Map([[0, 'inference-failed']]) })
  const providers = ['cuda:0', 'cpu', 'cuda:0'] // of rows 1, 2 and 3, 4 to 7
  const run = async (first: number, count: number) => {
    const timings = await sessions.run(first, count)
    return { ...timings, provider: providers.shift()! }
  }
  const port: IsolationPort = {
    run,
    probe: session => sessions.probe(session),
    reserve: choice => sessions.reserve(choice),
    distrust: () => {},
    hung: () => sessions.hung(),
  }
  const { timings } = await runIsolated(port, 8)
  assert.equal(timings?.provider, 'cuda:0,cpu')
})

test('whatever else goes wrong is a fault of the system, an undefined too', async () => {
  for (const thrown of [undefined, new Error('the pool was closed')]) {
    const port = Object.assign(new Sessions({ rows: 3 }), { run: () => Promise.reject(thrown) })
    await assert.rejects(runIsolated(port, 3), (error: unknown) => error instanceof SluiceError)
  }
})
