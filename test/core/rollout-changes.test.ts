import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { type RolloutPlan, type RolloutState, versionsOf } from '../../src/core/rollout.ts'
import {
  MOST_FORMER,
  planAfter,
  planText,
  type RolloutChange,
  samePlan,
  withdrawn,
  withLive,
  withProposal,
} from '../../src/core/rollout-changes.ts'
import { parseRolloutRecord, stateRecord } from '../../src/core/rollout-records.ts'
import { seeded } from '../codec/support.ts'

const NONE: RolloutState = { model: 'm', revision: 0, live: undefined, proposed: undefined, former: [], at: 0 }
const refused = (why: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, 'rollout-invalid')
  assert.match((error as Error).message, why)
  return true
}

/** The state after these changes, each of which must be allowed. */
function after(...changes: RolloutChange[]): RolloutState {
  return changes.reduce(next, NONE)
}

function next(state: RolloutState, change: RolloutChange): RolloutState {
  return withLive(state, planAfter(state, change), change, { revision: state.revision + 1, at: state.at + 1 })
}

const promote = (version: string): RolloutChange => ({ kind: 'promote', version })
const canary = (version: string, percent = 5): RolloutChange => ({ kind: 'canary', version, percent })
const shadow = (version: string): RolloutChange => ({ kind: 'shadow', version })
const rollback = (to?: string): RolloutChange => ({ kind: 'rollback', to })

suite('what a change makes of a rollout', () => {
  test('promotion, canary and shadow', () => {
    const { revision, live, former } = after(promote('1'), promote('2'), canary('3', 12.5), shadow('4'), shadow('5'))
    assert.deepEqual(live, { stable: '2', canary: { version: '3', percent: 12.5 }, shadows: ['4', '5'] })
    assert.deepEqual([revision, former], [5, ['1']])
    assert.equal(planText(live!), 'version 2, canary 3 for 12.5 % of the keys, shadows 4, 5')
  })

  test('a canary that is promoted is no canary any more; another one stays', () => {
    assert.deepEqual(after(promote('1'), canary('2'), promote('2')).live, { stable: '2', shadows: [] })
    const other = after(promote('1'), canary('2'), shadow('3'), promote('3')).live
    assert.deepEqual(other, { stable: '3', canary: { version: '2', percent: 5 }, shadows: [] })
  })

  test('a shadow may become the canary; what ends a canary or a shadow leaves the rest', () => {
    const both = after(promote('1'), shadow('2'), shadow('3'), canary('2'))
    assert.deepEqual(both.live, { stable: '1', canary: { version: '2', percent: 5 }, shadows: ['3'] })
    assert.deepEqual(next(both, { kind: 'canary-off' }).live, { stable: '1', shadows: ['3'] })
    assert.deepEqual(next(both, { kind: 'shadow-off', version: '3' }).live?.shadows, [])
    assert.throws(() => planAfter(both, { kind: 'canary-off', version: '3' }), refused(/is version "2", not "3"/))
    assert.throws(() => planAfter(both, { kind: 'shadow-off', version: '2' }), refused(/no shadow; there is 3\./))
  })

  test('no version has two roles', () => {
    const state = after(promote('1'), canary('2'))
    assert.throws(() => planAfter(state, canary('1')), refused(/"1" is the stable one/))
    assert.throws(() => planAfter(state, shadow('1')), refused(/"1" is the stable one/))
    assert.throws(() => planAfter(state, shadow('2')), refused(/"2" is the canary/))
  })

  test('a rollback ends the canary, and goes further back each time', () => {
    const state = after(promote('1'), promote('2'), promote('3'), canary('4'), shadow('2'))
    const back = next(state, rollback())
    assert.deepEqual([back.live, back.former], [{ stable: '2', shadows: [] }, ['1']])
    const further = next(back, rollback())
    assert.deepEqual([further.live?.stable, further.former], ['1', []])
    assert.throws(() => planAfter(further, rollback()), refused(/"1" is the first stable one/))
    assert.deepEqual(next(state, rollback('1')).former, [])
    assert.throws(() => planAfter(state, rollback('9')), refused(/"9" was not stable before "3"; there were 2, 1/))
    assert.throws(() => planAfter(state, rollback('3')), refused(/Promote it/))
  })

  test('the version that replicas chose by themselves can be gone back to', () => {
    const first = withLive(NONE, planAfter(NONE, promote('2')), promote('2'), { revision: 1, before: '1', at: 1 })
    assert.deepEqual(first.former, ['1'])
    assert.equal(next(first, rollback()).live?.stable, '1')
  })

  test('before the first promotion there is nothing to change', () => {
    for (const change of [canary('1'), shadow('1'), rollback(), { kind: 'canary-off' } as const]) {
      assert.throws(() => planAfter(undefined, change), refused(/Promote the one/))
      assert.throws(() => planAfter(NONE, change), refused(/Promote the one/))
    }
  })

  for (const percent of [0, -1, 100.01, Number.NaN, Number.POSITIVE_INFINITY]) {
    test(`${percent} per cent are wrong usage`, () => {
      assert.throws(() => planAfter(after(promote('1')), canary('2', percent)), { code: 'invalid-config' })
    })
  }

  test('a proposal replaces the one before, and leaves what is live alone', () => {
    const state = after(promote('1'))
    const proposal = { id: 'b', plan: planAfter(state, promote('2')) }
    const proposed = withProposal(withProposal(state, { ...proposal, id: 'a' }, 5), proposal, 6)
    assert.deepEqual(proposed, { ...state, proposed: proposal, at: 6 })
    assert.deepEqual(withdrawn(proposed, 7), { ...state, at: 7 })
  })
})

const version = fc.constantFrom('1', '2', '3', '4', '5')
const anyChange: fc.Arbitrary<RolloutChange> = fc.oneof(
  fc.record({ kind: fc.constant('promote' as const), version }),
  fc.record({ kind: fc.constant('canary' as const), version, percent: fc.double({ min: -1, max: 101 }) }),
  fc.record({ kind: fc.constant('canary-off' as const), version: fc.option(version, { nil: undefined }) }),
  fc.record({ kind: fc.constant('shadow' as const), version }),
  fc.record({ kind: fc.constant('shadow-off' as const), version }),
  fc.record({ kind: fc.constant('rollback' as const), to: fc.option(version, { nil: undefined }) }),
)

test('whatever is asked for, the state stays one that makes sense', () => {
  fc.assert(
    fc.property(fc.array(anyChange, { maxLength: 60 }), changes => {
      let state = NONE
      for (const change of changes) {
        let plan: RolloutPlan
        try {
          plan = planAfter(state, change)
        } catch (error) {
          assert.match((error as { code?: string }).code ?? String(error), /^(rollout-invalid|invalid-config)$/)
          continue
        }
        const before = state
        state = withLive(state, plan, change, { revision: state.revision + 1, at: 1 })
        const { live, former, revision } = state
        assert.ok(samePlan(live!, plan))
        assert.equal(revision, before.revision + 1)
        assert.equal(versionsOf(plan).length, 1 + (plan.canary ? 1 : 0) + plan.shadows.length, 'one role each')
        if (plan.canary) assert.ok(plan.canary.percent > 0 && plan.canary.percent <= 100)
        for (const [i, each] of [plan.stable, ...former].entries()) assert.notEqual(each, former[i], 'neighbours')
        assert.ok(former.length <= MOST_FORMER)
        if (change.kind === 'rollback') {
          assert.equal(plan.canary, undefined)
          assert.ok(before.former.includes(plan.stable))
          assert.ok(former.length < before.former.length)
        } else if (plan.stable !== before.live?.stable && before.live) assert.equal(former[0], before.live.stable)
        else assert.deepEqual(former, before.former)
        const { key, value } = stateRecord(state)
        assert.deepEqual(
          parseRolloutRecord(key, value),
          { kind: 'state', model: 'm', state },
          'the record says all of it',
        )
      }
    }),
    seeded(300),
  )
})
