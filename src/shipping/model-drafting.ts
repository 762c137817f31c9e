import type { Settings } from '../config/settings.ts'
import { SluiceError } from '../core/errors.ts'
import type { ExternalFile, InputSpec } from '../core/model.ts'
import { packObject } from '../core/rows.ts'
import { ownColumn } from '../core/tensor.ts'
import { ExternalDataError, Inspection } from '../inference/inspection.ts'
import { parseSessions } from '../inference/placement.ts'
import { hashFile, MANIFEST_FILE } from '../models/bundle.ts'
import { batchOf, type DraftInput, type DraftOutput, draftInputs, draftOutputs } from '../models/draft.ts'
import { type MadeUpRow, madeUpRows } from '../models/made-up-rows.ts'
import { parseInputs } from '../models/manifest.ts'
import type { CheckTools } from './model-check.ts'
import type { Staging } from './model-staging.ts'

export interface DraftRequest {
  /** Where model.onnx was copied from, and its weights may lie. */
  readonly onnxFile: string
  readonly features: readonly string[] | undefined
  readonly allowExternalData: boolean
  /** Rows that the model is known to take; none: rows are made up. */
  readonly rows: readonly MadeUpRow[]
}

/** What a graph says of itself, as the parts of a model.json. */
export interface DraftedModel {
  readonly sha256: string
  readonly external: readonly ExternalFile[]
  readonly inputs: readonly DraftInput[]
  readonly outputs: readonly DraftOutput[]
  /** What a person should know of how it came about. */
  readonly notes: readonly string[]
}

type DraftSettings = Pick<Settings, 'sessions'>

/** A number of rows that no other dimension is likely to have, so that an output shows whether it is one of rows. */
const TRIAL_ROWS = 7
/** Of rows with more values, two do. */
const LARGE_WIDTH = 10_000

/**
 * Drafts the model.json of a staged model.onnx: opens it where SESSIONS says, and runs a few rows to learn the shapes of
 * its outputs, which many exports leave open. Weights in other files are staged, too, where that is allowed.
 * @throws SluiceError `model-unsupported`, `external-data`, `invalid-config`, or what opening it throws
 */
export async function draftModel(
  staging: Staging,
  request: DraftRequest,
  { sessions }: DraftSettings,
  tools: CheckTools,
): Promise<DraftedModel> {
  const { clock, openTimeoutMs: timeoutMs, threadUrl } = tools
  const sha256 = await hashFile(staging.modelFile)
  const open = (external: readonly ExternalFile[]) =>
    Inspection.open({
      modelFile: staging.modelFile,
      sha256,
      external,
      placement: parseSessions(sessions)[0]!,
      timeoutMs,
      clock,
      ...(threadUrl === undefined ? {} : { threadUrl }),
    })
  const { inspection, external } = await openWithWeights(open, staging, request)
  try {
    const { inputs: graphInputs, outputs: graphOutputs } = inspection.signature
    const inputs = draftInputs(graphInputs, request.features)
    const tensors = graphOutputs.filter(({ type }) => type !== null).map(({ name }) => name)
    const trial = tensors.length === 0 ? NO_TRIAL : await tryOut(inspection, inputs.parts, tensors, request.rows)
    const outputs = draftOutputs(graphOutputs, trial.shapes, trial.rows, batchOf(inputs.parts))
    const notes = [...inputs.notes, ...outputs.notes]
    return { sha256, external, inputs: inputs.parts, outputs: outputs.parts, notes }
  } finally {
    await inspection.close()
  }
}

interface Trial {
  readonly rows: number
  readonly shapes: ReadonlyMap<string, readonly number[]>
}

const NO_TRIAL: Trial = { rows: 0, shapes: new Map() }

/** The thread says what the graph refers to; then those files are taken along, and another thread opens all of it. */
async function openWithWeights(
  open: (external: readonly ExternalFile[]) => Promise<Inspection>,
  staging: Staging,
  { onnxFile, allowExternalData }: DraftRequest,
): Promise<{ inspection: Inspection; external: readonly ExternalFile[] }> {
  try {
    return { inspection: await open([]), external: [] }
  } catch (error) {
    if (!(error instanceof ExternalDataError)) throw error
    const locations = [...new Set(error.references.map(({ location }) => location))]
    const files = locations.join(', ')
    if (!allowExternalData) {
      throw new SluiceError('external-data', `${onnxFile} keeps weights in other files: ${files}`)
    }
    const inner = error.references.find(({ initializer }) => !initializer)
    if (inner !== undefined) {
      const problem = `the runtime takes only initializers from other files, and "${inner.tensor}" is the attribute of a node`
      throw new SluiceError('external-data', `${onnxFile} keeps weights in other files, ${files}; but ${problem}`)
    }
    for (const location of locations) await staging.takeWeights(onnxFile, location)
    const hashes = locations.map(async file => ({ file, sha256: await hashFile(staging.pathOf(file)) }))
    const external = await Promise.all(hashes)
    return { inspection: await open(external), external }
  }
}

/** Runs the first row that the runtime takes, repeated as often as the graph wants. */
async function tryOut(
  inspection: Inspection,
  inputs: readonly DraftInput[],
  outputs: readonly string[],
  known: readonly MadeUpRow[],
): Promise<Trial> {
  const specs = parseInputs(MANIFEST_FILE, inputs)
  const width = specs.reduce((sum, spec) => sum + spec.width, 0)
  const rows = batchOf(inputs) ?? (width > LARGE_WIDTH ? 2 : TRIAL_ROWS)
  let reason = ''
  for (const row of known.length > 0 ? known : madeUpRows(specs, TRIAL_ROWS)) {
    try {
      const shapes = await inspection.tryRows(repeat(specs, row, rows), outputs)
      return { rows, shapes: new Map(outputs.map((name, index) => [name, shapes[index]!])) }
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'inference-failed') throw error
      reason = error.message
    }
  }
  const remedy = known.length > 0 ? 'of --golden' : 'that was made up; give it rows that it takes with --golden FILE'
  throw new SluiceError('model-unsupported', `the runtime refuses every row ${remedy}: ${reason}`)
}

function repeat(specs: readonly InputSpec[], row: MadeUpRow, rows: number) {
  const columns = specs.map(spec => ownColumn(spec, rows))
  for (let at = 0; at < rows; at++) {
    const fault = packObject(row, specs, columns, at, true)
    if (fault !== undefined) throw new SluiceError('inference-failed', fault.message)
  }
  return columns.map(({ spec, data }) => ({ ...spec, data }))
}
