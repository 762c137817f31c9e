import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TimelineEntry } from '../../src/core/timeline.ts'
import { copyVersions } from '../../test/support/models.ts'
import { runSluice } from '../../test/support/sluice-process.ts'
import { readTopic } from '../../test/support/topic-reader.ts'
import type { Fault, Strike } from '../fault.ts'
import type { Stage } from '../stage.ts'

const MODEL = 'iris-classifier'
/** A store in which the model has two versions. */
const STORE = join(tmpdir(), `sluice-two-versions-${process.pid}`)

function makeStore(): void {
  if (!existsSync(STORE)) copyVersions(STORE, MODEL, ['1', '2'])
}

/** One after the other; each begins where the one before it ended, and the last one where the first one begins. */
const CHANGES: readonly (readonly string[])[] = [
  ['promote', MODEL, '2'],
  ['canary', MODEL, '1', '--percent', '30'],
  ['promote', MODEL, '1'],
  ['shadow', MODEL, '2'],
  ['shadow', MODEL, '2', '--off'],
  ['promote', MODEL, '2'],
  ['rollback', MODEL],
]

async function change(stage: Stage, turn: number): Promise<Strike> {
  const since = Date.now()
  const args = CHANGES[turn % CHANGES.length]!
  const { code, stdout, stderr } = await runSluice(['model', ...args, '--timeout', '60'], { env: stage.bed.env })
  if (code !== 0) throw new Error(`sluice model ${args.join(' ')} ended with ${code}.\n${stdout}${stderr}`)
  return { since }
}

/** Every prediction names the version that the timeline has for its offset and its key. */
async function agreesWithTimeline(stage: Stage): Promise<readonly string[]> {
  const records = await readTopic(stage.bed.timeline)
  const entries = records.map(({ value }) => JSON.parse(String(value)) as TimelineEntry)
  const { count, examples } = stage.rollouts.disagreements(entries)
  const most = stage.rollouts.seen
  if (most === 0) return ['no prediction was seen']
  return count === 0 ? [] : [`${count} of ${most} predictions disagree with the timeline`, ...examples]
}

const ROLLOUT = {
  name: 'rollout',
  what: 'another version is promoted, rolled back, a canary of 30 % or a shadow; timeline and headers agree for every record',
  strikes: 100,
  servers: 'broker',
  env: { MODEL_STORE: STORE },
  limitMs: 1_000,
  prepare: async () => makeStore(),
  strike: change,
  judge: agreesWithTimeline,
} satisfies Fault

export const ROLLOUT_FAULTS: readonly Fault[] = [
  { ...ROLLOUT, short: [0, 1, 2, 3] },
  {
    ...ROLLOUT,
    name: 'rollout-threads',
    what: 'the same changes, with two I/O threads in each of the two workers',
    env: { ...ROLLOUT.env, IO_THREADS: '2' },
  },
  {
    ...ROLLOUT,
    name: 'rollout-loaded',
    what: 'the same changes under full load: ten times the records',
    recordsPerSecond: 15_000,
  },
]
