import type { AuditOptions, AuditVerdict, ValueVerdict } from '../auditing/audit-contract.ts'
import { auditTopics, followTopics } from '../auditing/auditing.ts'
import { ValueCheck } from '../auditing/value-check.ts'
import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import type { Settings } from '../config/settings.ts'
import { connectionOptions } from '../connection.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import { parseLogPosition } from '../core/log-position.ts'
import { conclusion, formatExample, formatReport } from './audit-report.ts'
import { type Command, refusePositionals } from './command.ts'
import { ProgressLine } from './progress-line.ts'

const DEFAULT_EXAMPLES = '10'

export const audit: Command = {
  usage: 'sluice audit [--from T] [--to T] [--values] [--follow] [--examples N] [--json] [options]',
  summary: 'checks that each input record is reflected exactly once',
  help: `Reads INPUT_TOPIC, OUTPUT_TOPIC and DEAD_LETTER_TOPIC as they are, while GROUP_ID works or rests, and counts records that
are lost, doubled, misordered, torn (visible though not committed) or foreign (naming no input). It changes nothing.
The exit code is 0 when there are none and nothing was left unread or, with --values, uncompared; otherwise 1.

  --from T, --to T  judge the input records from and before T: earliest, latest, an ISO time, or offset:PARTITION=OFFSET,…
  --values          also predict again with the model versions that the headers name, and compare
  --follow          go on until Ctrl-C, and say of each fault when it appears
  --examples N      name the first N cases of each fault (${DEFAULT_EXAMPLES})
  --json            print the report as JSON

Example:
  sluice audit --group-id sluice --input-topic iris-features --output-topic iris-predictions --from 2026-11-23T04:00:00Z`,

  async run({ argv, env, dotenvFile, signal, print, stderr }) {
    const { settings: options, extra, positionals } = parseOptions(argv, EXTRA)
    refusePositionals(positionals, audit.usage)
    const { settings } = loadSettings({ options, env, dotenvFile, required: REQUIRED })
    const progress = new ProgressLine(stderr, systemClock)
    const plan: AuditOptions = {
      ...connectionOptions(settings),
      groupId: settings.groupId,
      inputTopic: settings.inputTopic,
      outputTopic: settings.outputTopic,
      deadLetterTopic: settings.deadLetterTopic,
      from: extra.from === undefined ? undefined : parseLogPosition('--from', extra.from),
      to: extra.to === undefined ? undefined : parseLogPosition('--to', extra.to),
      examples: exampleCount(extra.examples ?? DEFAULT_EXAMPLES),
      onProgress: ({ read, total, faults }) => progress.show(read, total, remark(faults)),
      onFault: extra.follow ? (kind, example) => progress.note(formatExample(kind, example)) : undefined,
      onTrouble: (topic, error) => progress.note(error === undefined ? `${topic}: reading goes on` : error.message),
    }
    const check = extra.values ? await openCheck(settings, plan) : undefined
    let verdict: AuditVerdict
    try {
      const watched = check === undefined ? plan : { ...plan, witness: check }
      verdict = await (extra.follow ? untilStopped(watched, signal) : auditTopics({ ...watched, signal }))
      if (check !== undefined) verdict = withValues(verdict, await check.finish())
    } finally {
      progress.clear()
      await check?.close()
    }
    print(extra.json ? JSON.stringify(verdict, null, 2) : formatReport(verdict, plan))
    if (!verdict.clean) throw new SluiceError('audit-failed', conclusion(verdict, plan))
  },
}

const EXTRA = {
  from: 'string',
  to: 'string',
  values: 'boolean',
  follow: 'boolean',
  examples: 'string',
  json: 'boolean',
} as const

const REQUIRED = ['inputTopic', 'outputTopic', 'deadLetterTopic'] as const

function openCheck(settings: Settings, { inputTopic, examples }: AuditOptions): Promise<ValueCheck> {
  return ValueCheck.open({ settings, inputTopic, examples: examples ?? 0, log: silentLog, clock: systemClock })
}

function withValues(verdict: AuditVerdict, values: ValueVerdict): AuditVerdict {
  return { ...verdict, clean: verdict.clean && values.different.count === 0 && values.unchecked.count === 0, values }
}

async function untilStopped(plan: AuditOptions, signal: AbortSignal): Promise<AuditVerdict> {
  const following = await followTopics(plan)
  const stopped = new Promise<void>(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await Promise.race([stopped, following.done])
  return following.stop()
}

function remark(faults: AuditVerdict['faults']): string {
  const count = Object.values(faults).reduce((sum, fault) => sum + fault.count, 0)
  return count === 0 ? '' : `, ${count} ${count === 1 ? 'fault' : 'faults'}`
}

function exampleCount(text: string): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && count <= 1_000_000) return count
  throw new SluiceError('invalid-config', `--examples is "${text}"; a whole number from 0 to 1000000 is allowed`)
}
