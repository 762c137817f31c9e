import { readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { systemClock } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { type Log, silentLog } from '../core/log.ts'
import { parseLogPosition } from '../core/log-position.ts'
import { AS_OF, doneOf, lengthOf } from '../core/replay.ts'
import type { ReplayAgreement } from '../replaying/replay-agreement.ts'
import type { ReplayPlan, ReplayRequest } from '../replaying/replay-plan.ts'
import type { ReplayOutcome } from '../replaying/replaying.ts'
import { type Command, refusePositionals } from './command.ts'
import { grouped, ProgressLine } from './progress-line.ts'

export const replay: Command = {
  usage: 'sluice replay --replay-id ID --output-topic TOPIC [--from T] [--to T] [--model-version V|as-of] [options]',
  summary: 'predicts a range of the input again, with any version, or with the one that answered then',
  help: `Reads a range of INPUT_TOPIC once more, under a group of its own (replay-ID), and publishes to OUTPUT_TOPIC, exactly once. The
live group is not touched. It ends when every partition has reached its end. After a crash run the same command again: it
goes on. Several processes with the same command share the work.

  --replay-id ID     names the replay; its predictions have it as a header
  --from T, --to T   earliest, latest, an ISO time, or offset:PARTITION=OFFSET,…; all there is unless given. The first
                     process of a replay fixes the offsets of each partition
  --model-version V  this version; ${AS_OF}: the one that answered each record in GROUP_ID; what is live unless given
  --compare          also compares with what the live group said: each prediction gets it as headers, and a table ends it
  --live-topic TOPIC the live group's output; the OUTPUT_TOPIC of the environment unless given
  --rate N           at most N records a second, in each process, and with a lower priority on the processors
  --dry-run          only says what would be read, and by which versions
  --force            also where OUTPUT_TOPIC has predictions of a live group
  --json             print the summary as JSON

Records that cannot be predicted go to OUTPUT_TOPIC.dlq, or where --dead-letter-topic says. Topics that are missing are made.

Example:
  sluice replay --replay-id audit-7 --input-topic iris-features --output-topic iris-replayed --model-name iris-classifier \\
    --from 2026-11-01 --to 2026-11-08 --model-version ${AS_OF}`,

  async run({ argv, env, dotenvFile, signal, print, stderr }) {
    const { settings: options, extra, positionals } = parseOptions(argv, EXTRA)
    refusePositionals(positionals, replay.usage)
    const progress = new ProgressLine(stderr, systemClock)
    const loaded = loadSettings({ options, env, dotenvFile, required: REQUIRED })
    const { outputTopic: _, ...others } = options
    const live = extra['live-topic'] ?? loadSettings({ options: others, env, dotenvFile }).settings.outputTopic
    const recordsPerSecond = extra.rate === undefined ? undefined : rateOf(extra.rate)
    const request = requestOf(extra, loaded, live)
    if (recordsPerSecond !== undefined) stepBack()
    // Not before: to load them takes most of the processor time of a start.
    const { planReplay } = await import('../replaying/replay-plan.ts')
    const { runReplay } = await import('../replaying/replaying.ts')
    const note = (text: string) => progress.note(text)
    const tools = { clock: systemClock, log: noteLog(note), signal, note }
    let outcome: ReplayOutcome
    try {
      progress.wait('looking for what to read, and with which versions')
      const plan = await planReplay(request, tools)
      if (extra['dry-run']) {
        progress.clear()
        return print(extra.json ? JSON.stringify(planJson(plan), null, 2) : formatPlan(plan))
      }
      const onProgress = (done: number, total: number) => progress.show(done, total, '')
      outcome = await runReplay(plan, { ...tools, recordsPerSecond, onProgress })
    } finally {
      progress.clear()
    }
    print(extra.json ? JSON.stringify(outcome, null, 2) : formatOutcome(outcome))
  },
}

const EXTRA = {
  'replay-id': 'string',
  from: 'string',
  to: 'string',
  rate: 'string',
  compare: 'boolean',
  'live-topic': 'string',
  'dry-run': 'boolean',
  force: 'boolean',
  json: 'boolean',
} as const

const REQUIRED = ['inputTopic', 'outputTopic', 'deadLetterTopic', 'modelName'] as const

type Extra = Readonly<Partial<Record<'replay-id' | 'from' | 'to', string>>> & {
  readonly force?: boolean | undefined
  readonly compare?: boolean | undefined
}

/** As Kafka allows in names of topics and groups, and short. */
const ID = /^[A-Za-z0-9._-]{1,64}$/

type Loaded = ReturnType<typeof loadSettings<(typeof REQUIRED)[number]>>

function requestOf(extra: Extra, { settings, sources }: Loaded, live: string | undefined): ReplayRequest {
  const id = extra['replay-id']
  if (id === undefined || !ID.test(id)) {
    const given = id === undefined ? 'is missing' : `is ${JSON.stringify(id)}`
    throw new SluiceError(
      'invalid-config',
      `--replay-id ${given}; 1 to 64 letters, digits, ".", "_" and "-" are allowed`,
    )
  }
  if (extra.compare && (live === undefined || live === settings.outputTopic)) {
    throw new SluiceError('invalid-config', '--compare needs --live-topic, the output of the live group')
  }
  return {
    id,
    settings: settingsOf(settings, sources),
    from: parseLogPosition('--from', extra.from ?? 'earliest'),
    to: parseLogPosition('--to', extra.to ?? 'latest'),
    version: settings.modelVersion,
    force: extra.force === true,
    compareWith: extra.compare ? live : undefined,
  }
}

/** What nobody has set fits a replay: dead letters that are its own, and transactions that nobody waits for, the larger the better. */
function settingsOf(settings: Loaded['settings'], sources: Loaded['sources']): Loaded['settings'] {
  const isDefault = (key: keyof Loaded['sources']) => sources[key] === 'default'
  const { outputTopic, deadLetterTopic, maxInFlightRecords, maxInFlightRecordsTotal } = settings
  const larger = isDefault('maxInFlightRecords') && isDefault('maxInFlightRecordsTotal') ? LARGER : 1
  return {
    ...settings,
    // That of the environment is the live group's.
    deadLetterTopic: sources.deadLetterTopic === 'option' ? deadLetterTopic : `${outputTopic}.dlq`,
    maxInFlightRecords: larger * maxInFlightRecords,
    maxInFlightRecordsTotal: larger * maxInFlightRecordsTotal,
  }
}

/** Times as many records in flight as a worker has; their memory is bounded as there. */
const LARGER = 4

/**
 * Whoever is to be slow leaves the processors to the others, too. To Linux a priority is that of a thread: those that compile
 * and collect garbage are there already, those of sessions take after this one.
 */
function stepBack(): void {
  const threads = process.platform === 'linux' ? readdirSync('/proc/self/task') : ['0']
  for (const thread of threads) {
    try {
      setPriority(Number(thread), constants.priority.PRIORITY_LOW)
    } catch {
      // Not allowed here, or the thread has ended: it is slow all the same.
    }
  }
}

function rateOf(text: string): number {
  const rate = Number(text)
  if (/^\d+$/.test(text) && rate > 0) return rate
  throw new SluiceError('invalid-config', `--rate is "${text}"; a whole number of records a second from 1 is allowed`)
}

/** Warnings stand above the bar; what a worker would say besides is for nobody here. */
function noteLog(note: (text: string) => void): Log {
  const tell = (fields: Record<string, unknown>, message: string) => {
    const { error, reason } = fields
    note(error === undefined || message === messageOf(error) ? message : `${message}: ${reason ?? messageOf(error)}`)
  }
  const log: Log = { ...silentLog, warn: tell, error: tell, child: () => log }
  return log
}

function planJson({ request, group, positions, versions, timeline }: ReplayPlan) {
  const { inputTopic, outputTopic, deadLetterTopic, modelName } = request.settings
  const topics = { inputTopic, outputTopic, deadLetterTopic }
  const offsets = { total: lengthOf(positions), done: doneOf(positions) }
  const ranges = positions.map(({ partition, from, to, done }) => ({ partition, from, to, done }))
  return {
    replayId: request.id,
    group,
    ...topics,
    modelName,
    versions: versions.map(({ version }) => version),
    offsets,
    ranges,
    timeline,
  }
}

function formatPlan({ request, positions, versions, timeline }: ReplayPlan): string {
  const { inputTopic, outputTopic, modelName } = request.settings
  const total = lengthOf(positions)
  const done = doneOf(positions)
  const lines = positions.map(({ partition, from, to }) => `  ${inputTopic}/${partition}  [${from}, ${to})`)
  const names = versions.map(({ version }) => version).join(', ')
  const how = timeline === undefined ? `version ${names}` : `versions ${names}, as they answered then`
  const rest = done === 0 ? '' : `, of which ${grouped(done)} are done`
  return [`${grouped(total)} offsets${rest}, to ${outputTopic}, by ${modelName} ${how}:`, ...lines].join('\n')
}

function formatOutcome({ replayId, outputTopic, deadLetterTopic, ranges, here, agreement }: ReplayOutcome): string {
  const total = ranges.reduce((sum, { from, to }) => sum + to - from, 0)
  const versions = Object.entries(here.versions).map(([version, count]) => `${grouped(count)} by version ${version}`)
  const by = versions.length === 0 ? '' : ` (${versions.join(', ')})`
  const rate = here.seconds > 0 ? grouped(Math.round(here.records / here.seconds)) : '0'
  const letters = here.deadLetters === 0 ? '' : `, ${grouped(here.deadLetters)} dead letters in ${deadLetterTopic}`
  return [
    `replay ${replayId} is complete: ${grouped(total)} offsets, predictions in ${outputTopic}`,
    `here: ${grouped(here.records)} records, ${grouped(here.predictions)} predictions${by}${letters}`,
    `in ${here.seconds.toFixed(1)} s, ${rate} records/s`,
    ...(agreement === undefined ? [] : ['', ...agreementLines(agreement)]),
  ].join('\n')
}

/** A table: how often what is said now differs from what each live version said, by the class that it said. */
function agreementLines({ compared, different, missing, classes }: ReplayAgreement): string[] {
  const share = (part: number, whole: number) => `${whole === 0 ? '0' : ((100 * part) / whole).toFixed(2)} %`
  const rows = classes.map(each => [
    each.version,
    each.class ?? '',
    grouped(each.compared),
    grouped(each.different),
    share(each.different, each.compared),
  ])
  const table = [['version', 'class', 'compared', 'different', ''], ...rows]
  const widths = table[0]!.map((_, column) => Math.max(...table.map(row => row[column]!.length)))
  const lines = table.map(row => `  ${row.map((cell, column) => cell.padStart(widths[column]!)).join('  ')}`.trimEnd())
  const rest = missing === 0 ? '' : `; ${grouped(missing)} have no live prediction to compare with`
  return [
    `${grouped(different)} of ${grouped(compared)} differ from the live ones (${share(different, compared)})${rest}`,
    ...lines,
  ]
}
