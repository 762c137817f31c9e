import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '../core/errors.ts'
import { type ExternalReference, externalReferences } from './external-data.ts'
import type { SessionSetup } from './messages.ts'

/** A model as the runtime takes it. */
export interface ModelFiles {
  readonly model: Uint8Array
  /** `path` is how the graph refers to it. */
  readonly weights: { readonly path: string; readonly data: Uint8Array }[]
}

/** The graph keeps weights in a file that the bundle does not list. */
export class StrangeWeights extends Error {
  /** All that the graph refers to. */
  readonly references: readonly ExternalReference[]

  constructor(message: string, references: readonly ExternalReference[]) {
    super(message)
    this.references = references
  }
}

/**
 * Reads model.onnx and the weights beside it. Opening these bytes, not the files, makes sure that what was hashed is what
 * serves, and that the runtime, which follows any path that a graph has, reads no file itself.
 * @throws StrangeWeights; Error when a file cannot be read, has another hash, or is no ONNX model
 */
export async function readModelFiles({
  modelFile,
  sha256,
  external,
}: Pick<SessionSetup, 'modelFile' | 'sha256' | 'external'>): Promise<ModelFiles> {
  const model = await readHashed(modelFile, sha256, 'its SHA-256')
  refuseStrangers(model, new Set(external.map(({ file }) => file)))
  const weights = external.map(async each => {
    const file = join(dirname(modelFile), each.file)
    return { path: each.file, data: await readHashed(file, each.sha256, `the SHA-256 of ${file}`) }
  })
  return { model, weights: await Promise.all(weights) }
}

async function readHashed(file: string, expected: string, what: string): Promise<Uint8Array> {
  const bytes = await readFile(file)
  const found = createHash('sha256').update(bytes).digest('hex')
  if (found === expected) return bytes
  throw new Error(`${what} is ${found}, expected ${expected}`)
}

/** A path that begins at a root, has a drive, or climbs. */
const LEADS_OUT = /^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)/

function refuseStrangers(model: Uint8Array, files: ReadonlySet<string>): void {
  const references = referencesOf(model)
  const stranger = references.find(({ location }) => !files.has(location))
  if (stranger === undefined) return
  const { tensor, location } = stranger
  const problem = LEADS_OUT.test(location)
    ? 'which leads out of the bundle'
    : 'which model.json does not list under "external"'
  throw new StrangeWeights(`its tensor "${tensor}" keeps its weights in the file "${location}", ${problem}`, references)
}

function referencesOf(model: Uint8Array): ExternalReference[] {
  try {
    return externalReferences(model)
  } catch (error) {
    throw new Error(`it is no ONNX model, or only a part of one: ${messageOf(error)}`, { cause: error })
  }
}
