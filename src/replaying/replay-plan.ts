import { connectionOptions } from '../connection.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { type Log, silentLog } from '../core/log.ts'
import type { LogPosition } from '../core/log-position.ts'
import type { ModelSpec } from '../core/model.ts'
import { AS_OF, isSameReplay, type ReplayPosition, type ReplayRange } from '../core/replay.ts'
import { versionsOf } from '../core/rollout.ts'
import type { TimelineRange } from '../core/timeline-ranges.ts'
import type { ConnectionOptions } from '../kafka/cluster.ts'
import type { GroupView } from '../kafka/group-view.ts'
import { resolvePosition, stableEndOffsets, startOffsets, type TopicView } from '../kafka/log-offsets.ts'
import { createTopicLike } from '../kafka/topics.ts'
import { openStore } from '../models/open-store.ts'
import { rangesToReplay, timelineOf } from '../replay/ranges.ts'
import { requestTag } from '../replay/request-tag.ts'
import type { WorkerSettings } from '../replica/replica.ts'
import { RolloutDesk } from '../rollout/rollout-desk.ts'
import { readHistory } from '../rollout/timeline-reading.ts'
import { groupViewOf, topicViewOf, withCluster } from '../topic-views.ts'
import { lookAtOutput } from './replay-output.ts'

/** What is to be replayed. */
export interface ReplayRequest {
  readonly id: string
  /** Of the live group, but for OUTPUT_TOPIC and DEAD_LETTER_TOPIC, which are the replay's own. */
  readonly settings: WorkerSettings
  readonly from: LogPosition
  readonly to: LogPosition
  /** A version, or `as-of`: the one that answered each record. Left out: what is live. */
  readonly version: string | undefined
  /** Writes even where live predictions are. */
  readonly force: boolean
  /** The live group's output, if the replay is to be compared with it. */
  readonly compareWith?: string | undefined
}

/** A request that has been found possible. */
export interface ReplayPlan {
  readonly request: ReplayRequest
  readonly group: string
  /** By partition. */
  readonly positions: readonly ReplayPosition[]
  /** Every version that will answer what is left: none where nothing is. */
  readonly versions: readonly ModelSpec[]
  /** As-of only: what answers which offsets, and how far that is known. */
  readonly timeline?: readonly TimelineRange[] | undefined
  readonly knownTo?: readonly number[] | undefined
}

export interface ReplayTools {
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  /** Hears of what takes long, or is odd but stops nothing. */
  readonly note: (text: string) => void
}

/** The group of a replay. */
export function replayGroup(id: string): string {
  return `replay-${id}`
}

/**
 * Finds out what a replay would read, and with which versions, and that nothing stands in its way. Changes nothing.
 * @throws SluiceError `replay-range`, `replay-mismatch`, `replay-output`, `model-missing`, `topic-missing`, …
 */
export async function planReplay(request: ReplayRequest, tools: ReplayTools): Promise<ReplayPlan> {
  const { settings, id } = request
  const { clock, note } = tools
  const { inputTopic } = settings
  const group = replayGroup(id)
  requireOwnTopics(request)
  return withCluster(connectionOptions(settings), 'planning the replay', async cluster => {
    const input = await topicViewOf(cluster, inputTopic, clock)
    const begun = await committedRanges(group, input)
    const by =
      request.version ?? begun.find(mark => mark !== undefined)?.by ?? (await liveVersion(settings, clock, note))
    const past = by === AS_OF ? await readPast(request, tools, groupViewOf(settings.groupId, input)) : undefined
    if (request.compareWith !== undefined) await requireAlike(input, request.compareWith)
    const positions = await positionsOf({ request, by, input, begun, knownTo: past?.knownTo })
    const timeline = past && timelineOf(inputTopic, past.ranges, positions)
    const versions = await inStore(settings, clock, timeline ?? by)
    const isNew = begun.every(mark => mark === undefined)
    if (!request.force) await requireOwnOutput(cluster, request, isNew, clock)
    return { request, group, positions, versions, timeline, knownTo: past?.knownTo }
  })
}

/** Makes the output topics like the input topic where they are missing. Throws a SluiceError. */
export async function createReplayTopics({ settings }: ReplayRequest): Promise<void> {
  const connection: ConnectionOptions = connectionOptions(settings)
  for (const topic of [settings.outputTopic, settings.deadLetterTopic]) {
    await createTopicLike(connection, topic, settings.inputTopic)
  }
}

function requireOwnTopics({ settings }: ReplayRequest): void {
  const { inputTopic, outputTopic, deadLetterTopic } = settings
  if (new Set([inputTopic, outputTopic, deadLetterTopic]).size === 3) return
  const message = `INPUT_TOPIC ${inputTopic}, OUTPUT_TOPIC ${outputTopic} and DEAD_LETTER_TOPIC ${deadLetterTopic} must be three.`
  throw new SluiceError('replay-output', message)
}

/** Live predictions of a partition are looked for in the partition of the same number, in the order of the input. */
async function requireAlike(input: TopicView, live: string): Promise<void> {
  const { partitions } = await topicViewOf(input.cluster, live, input.clock)
  if (partitions === input.partitions) return
  const counts = `${live} has ${partitions} partitions and ${input.topic} ${input.partitions}`
  throw new SluiceError('replay-output', `${counts}: they can be compared only where both have as many.`)
}

/** What all who share a replay must have asked for. */
function askedFor({ settings, from, to, compareWith }: ReplayRequest): Record<string, unknown> {
  const { groupId, inputTopic, outputTopic, deadLetterTopic, modelName } = settings
  const topics = { inputTopic, outputTopic, deadLetterTopic, compareWith }
  const text = (position: LogPosition) =>
    JSON.stringify(position.kind === 'offsets' ? [...position.offsets].sort(([a], [b]) => a - b) : position)
  return { groupId, ...topics, modelName, from: text(from), to: text(to) }
}

interface Past {
  readonly ranges: readonly TimelineRange[]
  readonly knownTo: readonly number[]
}

/** Who answered what, and up to where: the offsets are read before the timeline, which then covers them. */
async function readPast({ settings }: ReplayRequest, tools: ReplayTools, live: GroupView): Promise<Past> {
  const { timelineTopic, groupId, inputTopic, modelName: model } = settings
  const knownTo = await live.committed()
  if (knownTo.every(offset => offset < 0)) {
    throw new SluiceError('replay-range', `GROUP_ID ${groupId} has answered nothing of ${inputTopic}.`)
  }
  const { ranges } = await readHistory({
    connection: connectionOptions(settings),
    timelineTopic,
    groupId,
    inputTopic,
    model,
    clock: tools.clock,
    signal: tools.signal,
    onProgress: () => {},
    onTrouble: error => error && tools.note(error.message),
  })
  return { ranges, knownTo }
}

/** What members of the replay have fixed and done, by partition. @throws SluiceError `replay-mismatch` */
async function committedRanges(
  group: string,
  input: TopicView,
): Promise<((ReplayRange & { readonly done: number }) | undefined)[]> {
  const committed = await groupViewOf(group, input).committedWithMarks()
  return committed.map(({ offset, mark }) => {
    if (offset < 0) return undefined
    if (mark?.range !== undefined) return { ...mark.range, done: Math.max(offset, mark.range.from) }
    throw new SluiceError('replay-mismatch', `Group ${group} is used by something that is no replay.`)
  })
}

interface PositionsRequest {
  readonly request: ReplayRequest
  readonly by: string
  readonly input: TopicView
  readonly begun: Awaited<ReturnType<typeof committedRanges>>
  readonly knownTo: readonly number[] | undefined
}

/** Where a partition was begun, its own range counts: whoever fixed it may have seen another end of the log. */
async function positionsOf({ request, by, input, begun, knownTo }: PositionsRequest): Promise<ReplayPosition[]> {
  const { from, to, id } = request
  const same = { request: requestTag(askedFor(request)), by }
  const stranger = begun.find(mark => mark !== undefined && !isSameReplay(mark, same))
  if (stranger !== undefined) {
    const how = stranger.by === by ? 'another range, model, group or topic' : `version ${stranger.by}`
    throw new SluiceError('replay-mismatch', `Replay ${id} was begun with other options: ${how}.`)
  }
  const [start, end] = await Promise.all([startOffsets(input), stableEndOffsets(input)])
  const resolved = { from: await resolvePosition(input, from, start), to: await resolvePosition(input, to, end) }
  const known = new Set(begun.flatMap((mark, partition) => (mark === undefined ? [] : [partition])))
  const range = { topic: input.topic, from, to, resolved, log: { start, end }, knownTo, begun: known }
  return rangesToReplay(range).map((own, partition) => {
    const mark = begun[partition]
    return mark === undefined
      ? { ...own, ...same, partition, done: own.from, begun: false }
      : { ...mark, partition, begun: true }
  })
}

async function requireOwnOutput(
  cluster: KafkajsCluster,
  { settings: { outputTopic }, id }: ReplayRequest,
  isNew: boolean,
  clock: Clock,
): Promise<void> {
  const { live, replays } = await lookAtOutput(cluster, outputTopic, clock)
  if (live) {
    const message = `OUTPUT_TOPIC ${outputTopic} has predictions that are no replay's: it is a live group's.`
    throw new SluiceError('replay-output', message)
  }
  if (isNew && replays.has(id)) {
    const message = `OUTPUT_TOPIC ${outputTopic} has predictions of replay ${id}, of which Kafka has forgotten how far it came.`
    throw new SluiceError('replay-mismatch', message)
  }
}

/** What the rollout has live; otherwise what a worker would choose. */
async function liveVersion(settings: WorkerSettings, clock: Clock, note: (text: string) => void): Promise<string> {
  const { modelVersion, modelName: model, rolloutTopic: topic, groupId } = settings
  if (modelVersion !== undefined) return modelVersion
  const desk = await RolloutDesk.open({ connection: connectionOptions(settings), topic, model, groupId, clock, note })
  try {
    const live = desk.state?.live?.stable
    return live ?? (await openStore(settings, { log: silentLog, clock }).highest(model))
  } finally {
    await desk.close()
  }
}

/**
 * The versions that will answer; of a timeline, those that answered then.
 * @throws SluiceError `model-missing` for one that the store has no more, `model-corrupt` for one that is another by now
 */
async function inStore(
  settings: WorkerSettings,
  clock: Clock,
  wanted: string | readonly TimelineRange[],
): Promise<readonly ModelSpec[]> {
  const store = openStore(settings, { log: silentLog, clock })
  const found = new Map<string, ModelSpec>()
  const take = async (version: string, expected?: string) => {
    const { spec } = await store.find(settings.modelName, version)
    if (expected !== undefined && spec.sha256 !== expected) {
      const message = `Version ${version} of ${settings.modelName} is another artifact (${spec.sha256.slice(0, 16)}) than the one that answered`
      throw new SluiceError('model-corrupt', `${message} (${expected.slice(0, 16)}).`)
    }
    found.set(version, spec)
  }
  if (typeof wanted === 'string') await take(wanted)
  else {
    for (const { plan, sha256 } of wanted) {
      for (const version of versionsOf({ ...plan, shadows: [] })) await take(version, sha256[version])
    }
  }
  return [...found.values()]
}
