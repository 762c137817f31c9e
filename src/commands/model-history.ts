import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { connectionOptions } from '../connection.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { planText } from '../core/rollout-changes.ts'
import type { TimelineRange } from '../core/timeline-ranges.ts'
import { type ModelHistory, readHistory } from '../rollout/timeline-reading.ts'
import { type Command, namedModel } from './command.ts'
import { ProgressLine } from './progress-line.ts'

export const modelHistory: Command = {
  usage: 'sluice model history NAME [--partition N] [--json] [options]',
  summary: 'which version answered which offsets',
  help: `Reads TIMELINE_TOPIC and prints, for GROUP_ID and INPUT_TOPIC, what answered each range of offsets of each partition: the
stable version, the canary, the shadows. A range begins with its first offset and ends before its last number; the last
one ends at the group's committed offset. Every switch was written in the transaction in which it took effect.

  --partition N      only this partition
  --json             print the ranges as JSON, with the hashes of the artifacts

Example:
  sluice model history iris-classifier --group-id sluice --input-topic iris-features`,

  async run({ argv, env, dotenvFile, print, stderr, signal }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { partition: 'string', json: 'boolean' })
    const model = namedModel(positionals, modelHistory.usage)
    const { settings } = loadSettings({ options, env, dotenvFile, required: ['inputTopic'] })
    const partition = extra.partition === undefined ? undefined : partitionOf(extra.partition)
    const { groupId, inputTopic, timelineTopic } = settings
    const progress = new ProgressLine(stderr, systemClock)
    let history: ModelHistory
    try {
      history = await readHistory({
        connection: connectionOptions(settings),
        timelineTopic,
        groupId,
        inputTopic,
        model,
        clock: systemClock,
        signal,
        onProgress: (read, total) => progress.show(read, total, ''),
        onTrouble: error => progress.note(error === undefined ? `${timelineTopic}: reading goes on` : error.message),
      })
    } finally {
      progress.clear()
    }
    const { unreadable } = history
    if (unreadable > 0)
      progress.note(`${unreadable} records of ${timelineTopic} have a format that this release cannot read.`)
    const ranges = history.ranges.filter(range => partition === undefined || range.partition === partition)
    if (extra.json) return print(JSON.stringify({ model, groupId, inputTopic, ranges }, null, 2))
    print(ranges.length === 0 ? nothing(groupId, inputTopic, model, timelineTopic) : formatRanges(ranges, inputTopic))
  },
}

function nothing(groupId: string, inputTopic: string, model: string, timelineTopic: string): string {
  return `${timelineTopic} says nothing of ${model} in group ${groupId} on ${inputTopic}: are GROUP_ID and INPUT_TOPIC right?`
}

function formatRanges(ranges: readonly TimelineRange[], inputTopic: string): string {
  const byPartition = Map.groupBy(ranges, ({ partition }) => partition)
  const offsets = (range: TimelineRange) => `[${range.from}, ${range.to ?? '…'})`
  const width = Math.max(...ranges.map(range => offsets(range).length))
  const lines = [...byPartition].flatMap(([partition, ofOne]) => [
    `${inputTopic}/${partition}`,
    ...ofOne.map(range => {
      const origin = range.revision === 0 ? 'chosen by the worker' : `revision ${range.revision}`
      const hash = range.sha256[range.plan.stable]!.slice(0, 16)
      const since = new Date(range.since).toISOString()
      return `  ${offsets(range).padEnd(width)}  ${since}  ${planText(range.plan)} (${hash}, ${origin})`
    }),
  ])
  return lines.join('\n')
}

function partitionOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new SluiceError('invalid-config', `--partition is "${text}"; a whole number from 0 is allowed`)
}
