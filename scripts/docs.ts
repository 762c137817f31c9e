import { readFileSync, writeFileSync } from 'node:fs'
import { recordedResults, resultTable } from '../faults/results.ts'
import { RULES } from '../src/config/rules.ts'
import { envName, GROUPS, optionName, SETTING_KEYS, type SettingKey, settingOf } from '../src/config/settings.ts'
import { ERRORS, type ErrorCode, type Response } from '../src/core/errors.ts'
import { METRIC_GROUPS, METRICS } from '../src/ops/metric-table.ts'
import { exportRow, recordedExports } from './exports-table.ts'

/**
 * Writes the pages of docs/ that come from tables in the source: `node scripts/docs.ts`. With `--check` it writes
 * nothing, and exits with 1 if a page is not what the tables say.
 */

const NOTE = '<!-- Made by scripts/docs.ts from the table in the source; do not edit. -->'

function page(title: string, ...blocks: string[]): string {
  return `${[NOTE, `# ${title}`, ...blocks].join('\n\n')}\n`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

const code = (text: string) => `\`${text}\``

function settingsPage(): string {
  const row = (key: SettingKey) => {
    const { kind, doc, unit, secret } = settingOf(key)
    const type = [kind.type, unit, secret && '(secret)'].filter(Boolean).join(' ')
    return [code(`--${optionName(key)}`), code(envName(key)), type, defaultOf(key), doc]
  }
  const groups = GROUPS.map(group => {
    const keys = SETTING_KEYS.filter(key => settingOf(key).group === group)
    return `## ${group}\n\n${table(['option', 'environment', 'allowed', 'default', 'meaning'], keys.map(row))}`
  })
  return page(
    'Settings',
    'Every setting is an option of the command line and an environment variable; `.env` in the working folder is read ' +
      'too. Options win over the environment, the environment over `.env`, and `.env` over the defaults. An empty value ' +
      'counts as not set. A flag is turned on by `--name` and off by `--no-name`. An unknown option or a value that is ' +
      'not allowed ends the command with exit code 2 and one line that names the setting. `sluice config` prints what ' +
      'holds, and where each value came from; secrets are never shown.',
    ...groups,
    '## Between settings',
    RULES.map(rule => `- ${rule.sentence}`).join('\n'),
  )
}

function defaultOf(key: SettingKey): string {
  const { default: value, derived, kind } = settingOf(key)
  if (derived) return code(`<${envName(derived.of as SettingKey)}>${derived.suffix}`)
  return value === undefined ? '' : code(kind.show(value))
}

const RESPONSES: Record<Response, readonly [string, string]> = {
  'dead-letter': [
    'Records',
    'The record goes to the dead-letter topic with this code in the header `error-code`, in the transaction of its ' +
      'neighbours. Nothing else stops.',
  ],
  retry: [
    'The world around',
    'The whole system is at fault, not a record. The worker stays alive, waits with backoff, is not ready, and says why ' +
      'at `/health/ready`. No record is lost or dead-lettered.',
  ],
  halt: [
    'One partition',
    'The partition stops until a person decides, because going on would skip data. The others go on; the worker is not ' +
      'ready.',
  ],
  refuse: [
    'Requests',
    'A request to the inference API is answered with the error, as `{"error": "…"}`. Nothing else stops, and a request that was refused has not been run.',
  ],
  exit: ['Start', 'Trying again cannot help: the process ends with exit code 2 for `invalid-config`, otherwise 1.'],
}

function errorsPage(): string {
  const codes = Object.keys(ERRORS) as ErrorCode[]
  const blocks = (Object.keys(RESPONSES) as Response[]).map(response => {
    const rows = codes
      .filter(name => ERRORS[name].response === response)
      .map(name => [code(name), ERRORS[name].stage, response, ERRORS[name].meaning, ERRORS[name].remedy])
    const [title, text] = RESPONSES[response]
    return `## ${title}\n\n${text}\n\n${table(['code', 'stage', 'the worker', 'meaning', 'remedy'], rows)}`
  })
  return page(
    'Errors',
    'Every fault has a code that stays the same from release to release: in the log (`code`), at `/health/ready`, in ' +
      '`sluice_dead_letters_total`, and in the headers of dead letters. The stage says where on its journey a record was.',
    ...blocks,
  )
}

function metricsPage(): string {
  const rows = Object.values(METRICS)
  const groups = METRIC_GROUPS.map(group => {
    const cells = rows
      .filter(row => row.group === group)
      .map(row => [code(row.name), row.type, row.labels.map(code).join(', '), row.help])
    return `## ${group}\n\n${table(['metric', 'type', 'labels', 'meaning'], cells)}`
  })
  return page(
    'Metrics',
    'Served at `/metrics` in the text format of Prometheus. Names end in their unit, counters in `_total`. `topic` and ' +
      '`partition` are those of the input. The gauges of a partition vanish when another worker takes it; its counters ' +
      'stay. The standard `process_…` and `nodejs_…` metrics of prom-client are served beside these.',
    ...groups,
  )
}

function exportsPage(): string {
  const { runtime, exports } = recordedExports()
  const head = ['library', 'model', 'data', 'exported by', 'inputs', 'outputs', 'samples', 'largest difference']
  return page(
    'Exports',
    'Real models, each trained and exported by its library in `training/exporters/`, and predicted by a session of the ' +
      `worker (${runtime}, CPU). The difference is the largest one of any output from what the original library predicts ` +
      'for the same samples, both taken as doubles; it is rounded up, to twice as much or a little more, because last bits differ ' +
      'between processors. Labels, strings and booleans are equal. ' +
      '`N` is a batch of any size, `1` and `8` are fixed by the export: rows then run in chunks, the last one padded. ' +
      '`node scripts/exports.ts` measures anew, and `test/models/exports.test.ts` checks on every machine.',
    table(head, exports.map(exportRow)),
  )
}

const RESULTS = /(<!-- Results: made by scripts\/docs.ts from reliability.json -->\n)[\s\S]*(\n<!-- End of results -->)/

/** Written by hand, but for its table. */
function reliabilityPage(): string {
  const written = current(new URL('../docs/reliability.md', import.meta.url))!
  return written.replace(RESULTS, (_, begin, end) => `${begin}\n${resultTable(recordedResults())}\n${end}`)
}

const PAGES = {
  settings: settingsPage,
  errors: errorsPage,
  metrics: metricsPage,
  exports: exportsPage,
  reliability: reliabilityPage,
}

const check = process.argv.includes('--check')
for (const [name, make] of Object.entries(PAGES)) {
  const file = new URL(`../docs/${name}.md`, import.meta.url)
  const text = make()
  if (!check) writeFileSync(file, text)
  else if (current(file) !== text) {
    console.error(`docs/${name}.md is stale: run \`node scripts/docs.ts\``)
    process.exitCode = 1
  }
}

function current(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
