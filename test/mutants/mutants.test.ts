import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diffOf } from './lab.ts'
import { MUTANTS } from './mutants.ts'
import { examineAll, tableOf } from './report.ts'

/** Always the same, so that a mutant is caught today as it was yesterday, as long as the code stays as it is. */
const LIMITS = { seed: 5, schedules: 2_000, random: false }

test('the simulation catches every mutant, and nothing else', async t => {
  const [unmutated, ...verdicts] = await examineAll(MUTANTS, LIMITS)
  t.diagnostic(`\n${tableOf([unmutated!, ...verdicts])}`)
  assert.equal(unmutated!.breach, undefined, `the code as it is: ${unmutated!.message}`)
  for (const [i, mutant] of MUTANTS.entries()) {
    await t.test(mutant.name, () => {
      assert.ok(verdicts[i]!.breach, `survived ${verdicts[i]!.schedules} schedules. ${mutant.harm}\n${diffOf(mutant)}`)
    })
  }
})
