import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import type { ReplicaReport, RolloutPlan, RolloutState } from '../../src/core/rollout.ts'
import { Health } from '../../src/ops/health.ts'
import { RolloutAgent } from '../../src/rollout/rollout-agent.ts'
import type { LivePlan } from '../../src/serving/served-versions.ts'
import type { ServedModel } from '../../src/serving/serving.ts'
import { VersionShelf } from '../../src/serving/version-shelf.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'

const plan = (stable: string, shadows: readonly string[] = []): RolloutPlan => ({ stable, shadows })

function state(revision: number, live: RolloutPlan | undefined, proposed?: RolloutPlan, id = 'p1'): RolloutState {
  const proposal = proposed && { id, plan: proposed }
  return { model: 'iris', revision, live, proposed: proposal, former: [], at: 0 }
}

/** An agent whose versions open when the test says so, and whose threads let go of versions when it says so. */
class Harness {
  readonly clock = new FakeClock()
  readonly health = new Health({ clock: this.clock, log: silentLog })
  readonly reports: ReplicaReport[] = []
  readonly adopted: LivePlan[] = []
  readonly retired: string[] = []
  readonly opened: string[] = []
  readonly closed: string[] = []
  readonly refusals = new Map<string, SluiceError>()
  /** What opening a version comes to; at once, and well, unless said. */
  readonly openings = new Map<string, Promise<void>>()
  readonly shelf = new VersionShelf({
    open: version => this.#open(version),
    retire: version => this.retired.push(version),
  })
  readonly agent: RolloutAgent

  constructor(pinned = false) {
    this.agent = new RolloutAgent({
      model: 'iris',
      group: 'group',
      replica: 'replica',
      place: 'here:1',
      pinned,
      live: { plan: plan('1'), revision: 0 },
      shelf: this.shelf,
      refuse: version => this.refusals.get(version),
      adopt: live => this.adopted.push(live),
      publish: report => this.reports.push(report),
      health: this.health,
      log: silentLog,
      clock: this.clock,
    })
  }

  static async serving(pinned = false): Promise<Harness> {
    const harness = new Harness(pinned)
    await harness.shelf.open('1')
    return harness
  }

  async hear(heard: RolloutState): Promise<void> {
    this.agent.heard(heard)
    await settle()
  }

  async #open(version: string): Promise<ServedModel> {
    this.opened.push(version)
    await this.openings.get(version)
    return { close: async () => void this.closed.push(version) } as ServedModel
  }
}

const broken = () => new SluiceError('golden-mismatch', 'sample 1 differs')

test('what is proposed is made ready, and answers only when it is live', async () => {
  const harness = await Harness.serving()
  await harness.hear(state(0, undefined, plan('2')))
  assert.deepEqual(harness.opened, ['1', '2'])
  assert.deepEqual(harness.adopted, [])
  assert.deepEqual(
    harness.reports.map(({ prepared }) => prepared),
    [undefined, { proposal: 'p1', problem: undefined }],
  )
  await harness.hear(state(1, plan('2')))
  assert.deepEqual(harness.adopted, [{ plan: plan('2'), revision: 1 }])
  assert.deepEqual(harness.opened, ['1', '2'], 'each once')
  assert.equal(harness.reports.at(-1)!.serving.revision, 1)
  assert.deepEqual(harness.retired, ['1'])
  await harness.shelf.left('1')
  assert.deepEqual(harness.closed, ['1'])
  assert.deepEqual(harness.shelf.versions, ['2'])
})

test('what cannot be made ready is refused by name, and what answers goes on', async () => {
  const harness = await Harness.serving()
  harness.openings.set('3', Promise.reject(broken()))
  await harness.hear(state(0, undefined, plan('2', ['3'])))
  const problem = { version: '3', code: 'golden-mismatch', message: 'sample 1 differs' }
  assert.deepEqual(harness.reports.at(-1)!.prepared, { proposal: 'p1', problem })
  assert.deepEqual(harness.adopted, [])
  await harness.hear(state(0, undefined))
  assert.deepEqual(harness.retired, ['2'], 'what was made ready for it is unloaded')
})

test('a live plan that cannot be followed is a condition, until another one is live', async () => {
  const harness = await Harness.serving()
  harness.openings.set('2', Promise.reject(broken()))
  await harness.hear(state(1, plan('2')))
  assert.deepEqual(harness.adopted, [])
  assert.deepEqual(
    harness.health
      .ready()
      .reasons.map(({ code }) => code)
      .filter(code => code === 'golden-mismatch'),
    ['golden-mismatch'],
  )
  await harness.hear(state(2, plan('3')))
  assert.deepEqual(harness.adopted, [{ plan: plan('3'), revision: 2 }])
  assert.deepEqual(
    harness.health
      .ready()
      .reasons.map(({ code }) => code)
      .filter(code => code === 'golden-mismatch'),
    [],
  )
})

test('a live plan is tried again while the store is away', async () => {
  const harness = await Harness.serving()
  harness.openings.set('2', Promise.reject(new SluiceError('store-unreachable', 'no answer')))
  await harness.hear(state(1, plan('2')))
  assert.deepEqual(harness.adopted, [])
  harness.openings.delete('2')
  await harness.clock.advance(5_000)
  await settle()
  assert.deepEqual(harness.adopted, [{ plan: plan('2'), revision: 1 }])
})

test('a live plan is tried again, too, when a proposal is being prepared as its time comes', async () => {
  const harness = await Harness.serving()
  harness.openings.set('2', Promise.reject(new SluiceError('store-unreachable', 'no answer')))
  const slow = Promise.withResolvers<void>()
  harness.openings.set('3', slow.promise)
  await harness.hear(state(1, plan('2'), plan('3')))
  harness.openings.delete('2')
  await harness.clock.advance(5_000)
  await settle()
  assert.deepEqual(harness.adopted, [], 'one thing at a time')
  slow.resolve()
  await settle()
  await harness.clock.advance(5_000)
  await settle()
  assert.deepEqual(harness.adopted, [{ plan: plan('2'), revision: 1 }])
})

test('a version that never opens does not keep the next plan from being followed', async () => {
  const harness = await Harness.serving()
  const never = Promise.withResolvers<void>()
  harness.openings.set('2', never.promise)
  await harness.hear(state(0, undefined, plan('2')))
  await harness.hear(state(0, undefined, plan('3'), 'p2'))
  assert.deepEqual(harness.reports.at(-1)!.prepared, { proposal: 'p2', problem: undefined })
  assert.deepEqual(harness.retired, [], 'it is still being opened')
  never.resolve()
  await settle()
  assert.deepEqual(harness.retired, ['2'])
})

test('a version that is leaving is closed before it is opened again', async () => {
  const harness = await Harness.serving()
  await harness.hear(state(1, plan('2')))
  await harness.hear(state(2, plan('1')))
  assert.deepEqual(
    harness.adopted.map(({ revision }) => revision),
    [1],
    'records still wait for what version 1 said',
  )
  await harness.shelf.left('1')
  await settle()
  assert.deepEqual(
    harness.adopted.map(({ revision }) => revision),
    [1, 2],
  )
  assert.deepEqual(harness.opened, ['1', '2', '1'])
})

test('a version that was opened for nothing is closed, and can be opened again', async () => {
  const harness = await Harness.serving()
  await harness.shelf.discard('1')
  assert.deepEqual(harness.closed, ['1'])
  assert.deepEqual(harness.shelf.versions, [])
  await harness.shelf.open('1')
  assert.deepEqual(harness.opened, ['1', '1'])
})

test('a version whose sessions hang is refused though it is open', async () => {
  const harness = await Harness.serving()
  await harness.hear(state(1, plan('1', ['2'])))
  harness.refusals.set('2', new SluiceError('sessions-hung', 'four threads hang'))
  await harness.hear(state(1, plan('1', ['2']), plan('2')))
  assert.equal(harness.reports.at(-1)!.prepared?.problem?.code, 'sessions-hung')
})

test('a version that opens when nobody wants it any more is unloaded', async () => {
  const harness = await Harness.serving()
  await harness.hear(state(1, plan('2')))
  await harness.hear(state(1, plan('2'), plan('1'))) // waits until version 1 has left
  await harness.hear(state(1, plan('2')))
  await harness.shelf.left('1')
  await settle()
  assert.deepEqual(harness.opened, ['1', '2', '1'])
  assert.deepEqual(harness.retired, ['1', '1'])
})

test('a pinned worker says so, and follows nothing', async () => {
  const harness = await Harness.serving(true)
  await harness.hear(state(1, plan('2'), plan('3')))
  assert.deepEqual(harness.opened, ['1'])
  harness.agent.joined(1, 'member')
  harness.agent.joined(1, 'member')
  assert.deepEqual(
    harness.reports.map(({ members, serving }) => [members, serving.pinned]),
    [[['member'], true]],
  )
})
