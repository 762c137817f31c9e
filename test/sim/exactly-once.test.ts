import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { propertyOptions } from '../pipeline/property-options.ts'
import { explore, tell } from './explore.ts'
import { KNOWN } from './known-schedules.ts'
import { schedules } from './schedule.ts'
import { play } from './world.ts'

/**
 * The same in every run unless FC_SEED says otherwise: a schedule that fails one time in many thousands is found by whoever
 * explores (`node test/sim/run.ts`, another seed each time), not by whoever lands something else.
 */
const seed = process.env.FC_SEED === undefined ? 5002 : propertyOptions.seed

for (const { shows, schedule } of KNOWN) test(`known schedule: ${shows}`, () => play(schedule))

test('each record is reflected exactly once and in order, whatever fails when', async () => {
  const finding = await explore({ seed, schedules: 1_500, known: false, shrink: true })
  if (finding !== undefined) assert.fail(await tell(finding))
})

test('a schedule always plays in the same way: a failure can be repeated', async () => {
  for (const schedule of fc.sample(schedules, { seed, numRuns: 10 })) {
    assert.deepEqual(await eventsOf(), await eventsOf())

    async function eventsOf(): Promise<string[]> {
      const events: string[] = []
      await play(schedule, event => events.push(event))
      return events
    }
  }
})
