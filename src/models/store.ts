import { randomUUID } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { access, cp, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../core/errors.ts'
import { MANIFEST_FILE, type ModelBundle, readBundle } from './bundle.ts'
import { FOLDER_NAME } from './manifest.ts'

/** A model in the store. */
export interface StoredModel {
  readonly name: string
  /** In ascending order, see `compareVersions`; never empty. */
  readonly versions: readonly string[]
}

/** Where bundles are kept. Bundles may come at any time; one that is there never changes. */
export interface ModelStore {
  /**
   * Every model by name, with the versions that have a model.json. Bundles are not read: they may be damaged.
   * @throws SluiceError `model-missing` when the store cannot be read.
   */
  list(): Promise<StoredModel[]>
  /**
   * Reads the bundle of one version, or of the highest.
   * @throws SluiceError `model-missing`, listing what the store has; `model-corrupt`, see `readBundle`.
   */
  find(name: string, version?: string): Promise<ModelBundle>
  /**
   * The highest version of a model.
   * @throws SluiceError `model-missing`, listing what the store has
   */
  highest(name: string): Promise<string>
  /**
   * Puts a copy of a whole bundle into the store: other readers see all of it or nothing. `directory` is
   * `…/<name>/<version>`, checked by `readBundle` before, and stays the caller's.
   * @throws SluiceError `model-exists` when the store has the version already, whatever is in it.
   */
  add(bundle: ModelBundle): Promise<void>
}

/** Bundles in the folders `<root>/<name>/<version>`. Reads the folders anew each time. */
export class FolderStore implements ModelStore {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  async list(): Promise<StoredModel[]> {
    const entries = await this.#entries(this.#root)
    const names = entries.filter(entry => entry.isDirectory() || entry.isSymbolicLink()).map(entry => entry.name)
    const models = await Promise.all(names.sort().map(async name => ({ name, versions: await this.#versions(name) })))
    return models.filter(model => model.versions.length > 0)
  }

  async highest(name: string): Promise<string> {
    return (await this.#versionsOf(name)).at(-1)!
  }

  async find(name: string, version?: string): Promise<ModelBundle> {
    const versions = await this.#versionsOf(name)
    const found = version ?? versions.at(-1)!
    if (!versions.includes(found)) throw missingVersion(this.#root, { name, versions }, found)
    return readBundle(join(this.#root, name, found))
  }

  /** Never empty. */
  async #versionsOf(name: string): Promise<readonly string[]> {
    const models = await this.list()
    const model = models.find(each => each.name === name)
    if (model !== undefined) return model.versions
    throw missingModel(this.#root, name, models)
  }

  /** Copied beside its place first, then renamed into it, which fails where there is something already. */
  async add({ spec, directory }: ModelBundle): Promise<void> {
    const model = join(this.#root, spec.name)
    await mkdir(model, { recursive: true })
    const incoming = join(model, `.incoming-${randomUUID()}`)
    try {
      await cp(directory, incoming, { recursive: true, dereference: true })
      await rename(incoming, join(model, spec.version))
    } catch (error) {
      await rm(incoming, { recursive: true, force: true })
      if (!OCCUPIED.has((error as NodeJS.ErrnoException).code ?? '')) throw error
      throw new SluiceError(
        'model-exists',
        `model "${spec.name}" has a version "${spec.version}" in ${this.#root} already; versions never change`,
      )
    }
  }

  /** A link is no version of its own: as the highest, `latest` would hide the one that it stands for. */
  async #versions(name: string): Promise<string[]> {
    const entries = await this.#entries(join(this.#root, name))
    const versions = entries.filter(entry => entry.isDirectory()).map(entry => entry.name)
    const complete = await Promise.all(versions.map(version => exists(join(this.#root, name, version, MANIFEST_FILE))))
    return versions.filter((_, index) => complete[index]).sort(compareVersions)
  }

  async #entries(path: string): Promise<Dirent[]> {
    try {
      const entries = await readdir(path, { withFileTypes: true })
      return entries.filter(entry => FOLDER_NAME.test(entry.name))
    } catch (error) {
      const gone = ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
      if (gone && path !== this.#root) return []
      const layout = 'expected a folder that holds <name>/<version>/model.json'
      throw new SluiceError('model-missing', `the model store ${path} cannot be read (${messageOf(error)}); ${layout}`)
    }
  }
}

/** What a rename onto a folder with content, or onto a file, is answered with. */
const OCCUPIED: ReadonlySet<string> = new Set(['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR'])

const collator = new Intl.Collator('en', { numeric: true })

/**
 * The order of versions: text, in which runs of digits count as numbers, so that 10 comes after 9 and 1.10 after 1.9.
 * Suffixes come after what they are appended to (`2-rc1` after `2`): this is no semantic versioning.
 */
export function compareVersions(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : Number(a > b))
}

/** The error that a store, which has `models`, lacks one. */
export function missingModel(store: string, name: string, models: readonly StoredModel[]): SluiceError {
  return new SluiceError('model-missing', `the model store ${store} has no model "${name}"; ${contents(models)}`)
}

/** The error that a store lacks a version of a model that it has. */
export function missingVersion(store: string, model: StoredModel, version: string): SluiceError {
  const there = model.versions.join(', ')
  return new SluiceError(
    'model-missing',
    `model "${model.name}" has no version "${version}" in ${store}; it has ${there}`,
  )
}

function contents(models: readonly StoredModel[]): string {
  if (models.length === 0) return 'it is empty'
  return `it has ${models.map(({ name, versions }) => `${name} (${versions.join(', ')})`).join(', ')}`
}

/** What may not be looked at is there: reading it says why it cannot be read. */
async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    error => !['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''),
  )
}
