import { connectionOptions } from '../connection.ts'
import { SluiceError } from '../core/errors.ts'
import { doneOf, isComplete, isSameReplay, lengthOf, type ReplayPosition } from '../core/replay.ts'
import { within } from '../core/waiting.ts'
import type { MarkedOffset } from '../kafka/group-view.ts'
import { Health } from '../ops/health.ts'
import { Metrics } from '../ops/metrics.ts'
import type { ReplayJob, WorkerSettings } from '../replica/replica.ts'
import { CLOSE_TIMEOUT_MS, ReplicaRun } from '../replica/replica-run.ts'
import { Probe } from '../serving/probe.ts'
import { openModel, type ServedModel } from '../serving/serving.ts'
import { groupViewOf, topicViewOf, withCluster } from '../topic-views.ts'
import { type ReplayAgreement, readAgreement } from './replay-agreement.ts'
import { Comparing } from './replay-comparing.ts'
import { createReplayTopics, type ReplayPlan, type ReplayTools } from './replay-plan.ts'

export interface ReplayOptions extends ReplayTools {
  /** Records a second of this replica; as many as it can unless given. */
  readonly recordsPerSecond?: number | undefined
  /** Offsets done of how many, by all who share the replay. */
  readonly onProgress: (done: number, total: number) => void
}

/** What became of a replay. */
export interface ReplayOutcome {
  readonly replayId: string
  readonly group: string
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
  /** The whole range, by partition. */
  readonly ranges: readonly { readonly partition: number; readonly from: number; readonly to: number }[]
  /** What this process has done of it; the rest was done by others, or before. */
  readonly here: {
    readonly records: number
    readonly predictions: number
    readonly deadLetters: number
    /** Predictions by model version. */
    readonly versions: Readonly<Record<string, number>>
    readonly seconds: number
  }
  /** Of the whole replay, where it was to be compared. */
  readonly agreement?: ReplayAgreement | undefined
}

const LOOK_EVERY_MS = 250

/**
 * Replays what a plan names, with all others who do, until every partition has reached its end: the pipeline of a worker under
 * a group of its own. What was committed stays committed, whatever happens: whoever runs the same again goes on behind it.
 * @throws SluiceError what ends a worker, what would halt a partition, and `replay-stopped` when `signal` is aborted
 */
export async function runReplay(plan: ReplayPlan, options: ReplayOptions): Promise<ReplayOutcome> {
  const { clock, signal } = options
  const startedAt = clock.now()
  const metrics = new Metrics({ release: undefined, process: false })
  let positions = plan.positions
  if (!isComplete(positions) && plan.versions.length > 0) {
    await createReplayTopics(plan.request)
    const models: ServedModel[] = []
    try {
      for (const { version } of plan.versions) models.push(await openVersion(plan, version, options))
      positions = await replayAll(plan, models, metrics, options)
    } finally {
      await within(clock, CLOSE_TIMEOUT_MS, Promise.all(models.map(model => model.close())))
    }
  }
  if (!isComplete(positions)) {
    const left = lengthOf(positions) - doneOf(positions)
    const why = signal.aborted ? 'was stopped' : 'has ended'
    throw new SluiceError('replay-stopped', `Replay ${plan.request.id} ${why} with ${left} offsets left.`)
  }
  const outcome = outcomeOf(plan, positions, metrics, (clock.now() - startedAt) / 1_000)
  return plan.request.compareWith === undefined ? outcome : { ...outcome, agreement: await agreementOf(plan, options) }
}

function agreementOf({ request, versions }: ReplayPlan, tools: ReplayTools): Promise<ReplayAgreement> {
  const { settings, id } = request
  return withCluster(connectionOptions(settings), 'comparing', cluster =>
    readAgreement(cluster, { topic: settings.outputTopic, id, outputs: versions[0]?.outputs ?? [] }, tools),
  )
}

function openVersion({ request }: ReplayPlan, modelVersion: string, { log, clock }: ReplayTools): Promise<ServedModel> {
  return openModel({ ...request.settings, modelVersion }, { log, clock })
}

/** Returns how far it came. */
async function replayAll(
  plan: ReplayPlan,
  models: readonly ServedModel[],
  metrics: Metrics,
  options: ReplayOptions,
): Promise<readonly ReplayPosition[]> {
  const { clock, log, signal } = options
  const settings = settingsOf(plan, options)
  const complete = new AbortController()
  const comparing = await openComparing(plan, models, options, error => run.fail(error))
  const run: ReplicaRun = new ReplicaRun({
    settings,
    connection: connectionOptions(settings),
    tools: { log, clock, health: new Health({ clock, log }), metrics },
    models: models.map(({ spec, pool, sample }) => ({ spec, pool, probe: new Probe(spec, pool, sample) })),
    live: { plan: { stable: plan.versions[0]!.version, shadows: [] }, revision: 0 },
    replay: { ...jobOf(plan, options), comparison: comparing && (partition => comparing.of(partition)) },
  })
  const ended = new AbortController()
  const watching = watch(plan, options, ended.signal).finally(() => complete.abort())
  watching.catch(() => {})
  try {
    await run.serve(AbortSignal.any([signal, complete.signal]))
  } finally {
    ended.abort()
    await within(clock, CLOSE_TIMEOUT_MS, Promise.all([run.close(), comparing?.close()]))
  }
  return watching
}

async function openComparing(
  { request }: ReplayPlan,
  models: readonly ServedModel[],
  { clock, log }: ReplayTools,
  onFailed: (error: SluiceError) => void,
): Promise<Comparing | undefined> {
  const { settings, compareWith: live } = request
  if (live === undefined) return undefined
  return Comparing.open({ settings, live, specs: models.map(({ spec }) => spec), clock, log, onFailed })
}

/** A group of its own, exactly once whatever the live one does; with a rate, few transactions. */
function settingsOf({ group, request }: ReplayPlan, { recordsPerSecond }: ReplayOptions): WorkerSettings {
  const { settings } = request
  const own = { ...settings, groupId: group, processingGuarantee: 'exactly-once', ioThreads: 1 } as const
  if (recordsPerSecond === undefined) return own
  const least = slowCommitIntervalMs(recordsPerSecond, settings.maxInFlightRecords)
  return { ...own, commitIntervalMs: Math.max(settings.commitIntervalMs, least) }
}

/**
 * A transaction costs the brokers milliseconds of processor time, which the live group would wait for. One a second for each
 * partition is enough; more often where a partition that has all of the rate could not hold twice what comes in that time.
 */
function slowCommitIntervalMs(recordsPerSecond: number, maxInFlightRecords: number): number {
  return Math.min(1_000, Math.floor((500 * maxInFlightRecords) / recordsPerSecond))
}

function jobOf({ request, positions, timeline, knownTo }: ReplayPlan, { recordsPerSecond }: ReplayOptions): ReplayJob {
  const ranges = positions.map(({ from, to, request, by }) => ({ from, to, request, by }))
  return { id: request.id, ranges, timeline, knownTo, recordsPerSecond }
}

/**
 * Looks at the group's offsets until all partitions are done, or until it is told to stop, and then once more. Brokers that are
 * away are asked again: it is the tasks' affair to be troubled.
 * @throws SluiceError `replay-mismatch` where another replay of the same name was begun at the same time
 */
async function watch(
  plan: ReplayPlan,
  options: ReplayOptions,
  signal: AbortSignal,
): Promise<readonly ReplayPosition[]> {
  const { clock, onProgress } = options
  const { settings } = plan.request
  let positions = plan.positions
  for (;;) {
    try {
      return await withCluster(connectionOptions(settings), 'watching the replay', async cluster => {
        const group = groupViewOf(plan.group, await topicViewOf(cluster, settings.inputTopic, clock))
        for (;;) {
          const last = signal.aborted
          positions = movedOn(plan, positions, await group.committedWithMarks())
          onProgress(doneOf(positions), lengthOf(positions))
          if (last || isComplete(positions)) return positions
          await clock.sleep(LOOK_EVERY_MS, signal)
        }
      })
    } catch (error) {
      if (!(error instanceof SluiceError) || error.response !== 'retry') throw error
      if (signal.aborted) return positions
      await clock.sleep(LOOK_EVERY_MS, signal)
    }
  }
}

function movedOn(
  { request }: ReplayPlan,
  positions: readonly ReplayPosition[],
  committed: readonly MarkedOffset[],
): ReplayPosition[] {
  return positions.map(known => {
    const { offset, mark } = committed[known.partition] ?? { offset: -1, mark: undefined }
    const range = mark?.range
    if (range === undefined) return known
    if (isSameReplay(range, known)) return { ...known, ...range, done: Math.max(offset, range.from), begun: true }
    const message = `Another replay ${request.id}, with other options, was begun at the same time.`
    throw new SluiceError('replay-mismatch', message)
  })
}

function outcomeOf(
  { request, group }: ReplayPlan,
  positions: readonly ReplayPosition[],
  metrics: Metrics,
  seconds: number,
): ReplayOutcome {
  const { inputTopic, outputTopic, deadLetterTopic } = request.settings
  const { recordsIn, predictions, deadLetters } = metrics.totals
  return {
    replayId: request.id,
    group,
    inputTopic,
    outputTopic,
    deadLetterTopic,
    ranges: positions.map(({ partition, from, to }) => ({ partition, from, to })),
    here: { records: recordsIn, predictions, deadLetters, versions: metrics.versions, seconds },
  }
}
