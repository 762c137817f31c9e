import type { Stats } from 'node:fs'
import { lstat, realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { RowReader } from '../core/files.ts'
import type { Log } from '../core/log.ts'
import { identityOf } from '../core/model.ts'
import { DeadLetterFile } from '../files/dead-letter-file.ts'
import { PartialFile, partialOf } from '../files/partial-file.ts'
import { Batcher } from '../pipeline/batcher.ts'
import { Probe } from '../serving/probe.ts'
import { openModel, type ServedModel } from '../serving/serving.ts'
import { createWriter, type FileFormat, layoutOf, openReader } from './score-files.ts'
import { ScoreRun } from './score-run.ts'

interface ScorePlan {
  readonly input: string
  readonly output: string
  readonly deadLetters: string
  readonly inputFormat: FileFormat
  readonly outputFormat: FileFormat
  /** Input columns that the output has, too. */
  readonly keep: readonly string[] | 'all'
  /** Whether the output has the number of the input row. */
  readonly rowNumbers: boolean
  /** More end the run. */
  readonly maxDeadLetters: number
  /** Replaces files that are there already. */
  readonly force: boolean
}

interface ScoreTools {
  readonly log: Log
  readonly clock: Clock
  /** Aborted when the run is to end. */
  readonly signal: AbortSignal
  readonly onProgress: (progress: ScoreProgress) => void
  /** Why rows wait for the sessions; undefined when they do not any more. */
  readonly onCondition: (error: SluiceError | undefined) => void
}

export interface ScoreProgress {
  /** Rows that are done. */
  readonly rows: number
  readonly deadLetters: number
  /** Bytes of the input that were read, and that there are. */
  readonly read: number
  readonly size: number
}

/** What a run came to. */
export interface ScoreSummary {
  readonly input: string
  readonly output: string
  /** Undefined when there are none: then there is no file. */
  readonly deadLetterFile: string | undefined
  readonly rows: number
  readonly predictions: number
  readonly deadLetters: number
  readonly deadLettersByCode: Readonly<Record<string, number>>
  readonly model: { readonly name: string; readonly version: string; readonly sha256: string }
  readonly executionProviders: readonly string[]
  /** From the first row being read to the output having its name; opening the model is not in it. */
  readonly seconds: number
  readonly rowsPerSecond: number
}

export type ScoreSettings = Settings & { readonly modelName: string }

/**
 * Scores the rows of a file into another one, without a broker. The output and the file of dead letters get their names when
 * all is done and on the disk; until then, and if it fails, they are `<name>.partial`.
 * @throws SluiceError with response `exit`
 */
export async function scoreFile(plan: ScorePlan, settings: ScoreSettings, tools: ScoreTools): Promise<ScoreSummary> {
  await checkPaths(plan)
  const model = await openModel(settings, tools)
  try {
    const reader = await openReader(plan.inputFormat, plan.input, model.spec, settings)
    try {
      return await scoreRows(plan, settings, tools, model, reader)
    } finally {
      await reader.close()
    }
  } finally {
    await model.close()
  }
}

async function scoreRows(
  plan: ScorePlan,
  settings: ScoreSettings,
  tools: ScoreTools,
  model: ServedModel,
  reader: RowReader,
): Promise<ScoreSummary> {
  const formats = { input: plan.inputFormat, output: plan.outputFormat }
  const layout = layoutOf(model.spec, formats, reader.columns, plan.keep, plan.rowNumbers)
  const deadLetters = await DeadLetterFile.create(plan.deadLetters, !plan.force && (await areLeftOver(plan)))
  const output = await PartialFile.create(plan.output)
  try {
    const startedAt = tools.clock.now()
    const writer = createWriter(plan.outputFormat, output, model.spec, layout)
    const batcher = createBatcher(model, tools, error => run.fail(error))
    const run: ScoreRun = new ScoreRun({
      reader,
      writer,
      deadLetters,
      batcher,
      sources: layout.sources,
      maxBytes: settings.maxInFlightBytes,
      maxDeadLetters: plan.maxDeadLetters,
      model: identityOf(model.spec),
      onProgress: ({ rows }) =>
        tools.onProgress({ rows, deadLetters: deadLetters.total, read: reader.position, size: reader.size }),
    })
    await runUnlessStopped(run, batcher, tools.signal)
    await writer.finish()
    // What can fail comes first: the disk may be full, and files may have come up meanwhile. Then the dead letters: whoever
    // finds the output finds what is missing in it, too.
    await output.seal()
    await deadLetters.seal()
    if (!plan.force) await requireFree([plan.output, plan.deadLetters])
    await deadLetters.publish(plan.force)
    await output.publish(plan.force)
    return summaryOf(plan, model, run, deadLetters, (tools.clock.now() - startedAt) / 1000)
  } finally {
    await output.discard()
    await deadLetters.close()
  }
}

async function runUnlessStopped(run: ScoreRun, batcher: Batcher, signal: AbortSignal): Promise<void> {
  const stop = () => run.fail(new SluiceError('interrupted', 'A signal ended the scoring; there is no output.'))
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  try {
    await run.run()
  } finally {
    signal.removeEventListener('abort', stop)
    batcher.close()
  }
}

function createBatcher({ spec, pool, sample }: ServedModel, tools: ScoreTools, fail: (error: SluiceError) => void) {
  const probe = new Probe(spec, pool, sample)
  return new Batcher({
    pool,
    model: identityOf(spec),
    maxQueueDelayMs: 0,
    targetLatencyMs: 0,
    telemetry: { batch() {}, sessions() {}, sessionBusyMs() {}, runCost() {}, batchLimit() {} },
    clock: tools.clock,
    probe: (session, by) => probe.run(session, by),
    onGood: slot => probe.learn(slot),
    onCondition: error => {
      if (error?.response === 'exit') fail(error)
      else tools.onCondition(error)
    },
  })
}

/** Refuses files that would be lost, before anything is opened. */
async function checkPaths(plan: ScorePlan): Promise<void> {
  const { input, output, deadLetters, force } = plan
  await requireDistinct([
    { option: '--input', paths: [input] },
    { option: '--output', paths: [output, partialOf(output)] },
    { option: '--dead-letters', paths: [deadLetters, partialOf(deadLetters)] },
  ])
  for (const path of [output, deadLetters]) {
    // A link to nowhere is replaced as a file is.
    const there = (await stat(path).catch(() => undefined)) ?? (await entryOf(path))
    if (there !== undefined && !there.isFile() && !there.isSymbolicLink()) throw notRegular(path)
  }
  if (!force) await requireFree((await areLeftOver(plan)) ? [output] : [output, deadLetters])
}

/**
 * Whether the dead letters that are there are those of a run that was killed between the two names: its output has none yet.
 * Without that they may be of another output, or no dead letters.
 */
async function areLeftOver({ output, deadLetters }: ScorePlan): Promise<boolean> {
  const [whole, partial, letters] = await Promise.all([output, partialOf(output), deadLetters].map(entryOf))
  if (whole !== undefined || !partial?.isFile() || !letters?.isFile()) return false
  return DeadLetterFile.is(deadLetters)
}

async function requireFree(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if ((await entryOf(path)) !== undefined) throw new SluiceError('file-exists', `${path} is there already.`)
  }
}

/** What has this name, be it a link to nowhere. */
function entryOf(path: string): Promise<Stats | undefined> {
  return lstat(path).catch(() => undefined)
}

function notRegular(path: string): SluiceError {
  return new SluiceError('file-unusable', `${path} is there, and is no regular file; it cannot be replaced by one`)
}

interface NamedPaths {
  readonly option: string
  /** The file itself, and where it is until it is whole. */
  readonly paths: readonly string[]
}

async function requireDistinct(named: readonly NamedPaths[]): Promise<void> {
  const seen = new Map<string, string>()
  for (const { option, paths } of named) {
    const identities = await Promise.all(paths.map(identityOfPath))
    for (const [i, identity] of identities.entries()) {
      const other = seen.get(identity)
      if (other === undefined) continue
      const label = i === 0 ? option : `the ${paths[i]} of ${option}`
      const message = `${other} and ${label} are the same file; each needs one of its own`
      throw new SluiceError('invalid-config', message)
    }
    for (const [i, identity] of identities.entries()) {
      // A run that was killed may have left one file under both of its names.
      if (!seen.has(identity)) seen.set(identity, i === 0 ? option : `the ${paths[i]} of ${option}`)
    }
  }
}

/** The same for all names of one file: links lead to it. */
async function identityOfPath(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined)
  if (found !== undefined) return `${found.dev}:${found.ino}`
  return realpath(resolve(path, '..')).then(
    folder => resolve(folder, path.split('/').at(-1)!),
    () => resolve(path),
  )
}

function summaryOf(
  { input, output }: ScorePlan,
  { spec }: ServedModel,
  { rows, predictions, providers }: ScoreRun,
  deadLetters: DeadLetterFile,
  seconds: number,
): ScoreSummary {
  return {
    input,
    output,
    deadLetterFile: deadLetters.total === 0 ? undefined : deadLetters.path,
    rows,
    predictions,
    deadLetters: deadLetters.total,
    deadLettersByCode: Object.fromEntries(deadLetters.counts),
    model: identityOf(spec),
    executionProviders: [...providers],
    seconds,
    rowsPerSecond: seconds > 0 ? rows / seconds : 0,
  }
}
