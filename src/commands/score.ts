import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import { FILE_FORMATS, formatOf } from '../scoring/score-files.ts'
import { type ScoreSummary, scoreFile } from '../scoring/scoring.ts'
import { type Command, refusePositionals } from './command.ts'
import { grouped, ProgressLine } from './progress-line.ts'

const FORMATS = FILE_FORMATS.join(', ')
/** There is a batch every millisecond. */
const REDRAW_MS = 100

export const score: Command = {
  usage: 'sluice score --input FILE --output FILE --model NAME [--version V] [options]',
  summary: 'predicts the rows of a file into another file, without a broker',
  help: `The rows go through the sessions and the batches of a worker, and leave in the order of the input. The files are ${FORMATS},
and may differ. What cannot be predicted goes to a file of dead letters, with the reason. The output gets its name when all
of it is on the disk; an interrupted run is started over from the beginning by running it again.

  --input FILE, --output FILE
  --input-format F, --output-format F    ${FORMATS}; as the file's name ends, unless set
  --model NAME             also MODEL_NAME
  --version V              instead of the highest; also MODEL_VERSION
  --keep a,b | --keep all  columns of the input that the output has, too
  --no-row                 leave out the number of the input row, which is the column row
  --dead-letters FILE      instead of <output>.dead-letters.jsonl
  --max-dead-letters N     end with 1 and without an output when there are more
  --force                  replace files that are there
  --json                   print the summary as JSON

Example:
  sluice score --model iris-classifier --input flowers.csv --output predictions.parquet --keep all
  sluice score --model ffnn --input images.avro --output scores.avro --sessions 'cpu*2' --max-dead-letters 100`,

  async run({ argv, env, dotenvFile, signal, print, stderr }) {
    const { settings: options, extra, positionals } = parseOptions(argv, EXTRA)
    refusePositionals(positionals, score.usage)
    if (extra.model !== undefined) options.modelName = extra.model
    if (extra.version !== undefined) options.modelVersion = extra.version
    const { settings } = loadSettings({ options, env, dotenvFile, required: ['modelName'] })
    const input = required('input', extra.input)
    const output = required('output', extra.output)
    const plan = {
      input,
      output,
      deadLetters: extra['dead-letters'] ?? `${output}.dead-letters.jsonl`,
      inputFormat: formatOf(input, extra['input-format'], 'input-format'),
      outputFormat: formatOf(output, extra['output-format'], 'output-format'),
      keep: keptColumns(extra.keep),
      rowNumbers: extra.row ?? true,
      maxDeadLetters: limit(extra['max-dead-letters']),
      force: extra.force ?? false,
    }
    const progress = new ProgressLine(stderr, systemClock)
    let shownAt = 0
    try {
      const summary = await scoreFile(plan, settings, {
        log: silentLog,
        clock: systemClock,
        signal,
        onProgress: ({ rows, deadLetters, read, size }) => {
          const now = systemClock.now()
          if (now - shownAt < REDRAW_MS) return
          shownAt = now
          progress.share(rows, 'rows', read / size, deadLetters > 0 ? `, ${grouped(deadLetters)} dead letters` : '')
        },
        onCondition: error => progress.note(error === undefined ? 'rows run again' : error.message),
      })
      progress.clear()
      print(extra.json ? JSON.stringify(summary, null, 2) : formatSummary(summary))
    } finally {
      progress.clear()
    }
  },
}

const EXTRA = {
  input: 'string',
  output: 'string',
  'input-format': 'string',
  'output-format': 'string',
  model: 'string',
  version: 'string',
  keep: 'string',
  row: 'boolean',
  'dead-letters': 'string',
  'max-dead-letters': 'string',
  force: 'boolean',
  json: 'boolean',
} as const

function required(option: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value
  throw new SluiceError('invalid-config', `--${option} is needed: ${score.usage}`)
}

function keptColumns(text: string | undefined): readonly string[] | 'all' {
  if (text === 'all') return 'all'
  const names = (text ?? '').split(',').map(name => name.trim())
  return [...new Set(names.filter(name => name !== ''))]
}

function limit(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new SluiceError('invalid-config', `--max-dead-letters is "${text}"; a whole number from 0 is allowed`)
}

function formatSummary(summary: ScoreSummary): string {
  const { input, output, rows, predictions, deadLetters, deadLettersByCode, model, seconds, rowsPerSecond } = summary
  const codes = Object.entries(deadLettersByCode).map(([code, count]) => `${grouped(count)} ${code}`)
  const letters = deadLetters === 0 ? '0' : `${grouped(deadLetters)} in ${summary.deadLetterFile}: ${codes.join(', ')}`
  const providers = summary.executionProviders.join(', ')
  return [
    `${input} -> ${output}`,
    '',
    `rows          ${grouped(rows)}`,
    `predictions   ${grouped(predictions)}`,
    `dead letters  ${letters}`,
    `model         ${model.name}, version ${model.version}, SHA-256 ${model.sha256}${providers && `, on ${providers}`}`,
    `time          ${seconds.toFixed(1)} s, ${grouped(Math.round(rowsPerSecond))} rows/s`,
  ].join('\n')
}
