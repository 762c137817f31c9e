import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Bucket } from './bucket.ts'
import { BucketAdd } from './bucket-add.ts'
import { isUnreachable } from './bucket-errors.ts'
import { MANIFEST_FILE, type ModelBundle } from './bundle.ts'
import { CHECKSUM_FILE, isInside, parseChecksums } from './checksums.ts'
import { FOLDER_NAME, parseManifest } from './manifest.ts'
import type { ModelCache } from './model-cache.ts'
import { compareVersions, type ModelStore, missingModel, missingVersion, type StoredModel } from './store.ts'

const MODEL_FILE = 'model.onnx'

interface S3StoreTools {
  readonly bucket: Bucket
  readonly cache: ModelCache
  readonly log: Log
  /** Milliseconds since the Unix epoch. */
  readonly wallTime: () => number
}

/**
 * Bundles in a bucket, under the keys `<name>/<version>/<file>`, and in a cache, from which they are read. A bundle is
 * there once its model.json is. Bundles that `add` put there have SHA256SUMS, too; others may have been copied by hand.
 *
 * `find` asks the store every time, so that a version that was removed is missing, but downloads only content that the
 * cache does not have. While the store is away, `find` takes what the cache has, and says so in the log.
 *
 * Beside what `ModelStore` says, every method throws `store-unreachable` and `store-refused`, and `invalid-config` when
 * the cache cannot be written.
 */
export class S3Store implements ModelStore {
  readonly #bucket: Bucket
  readonly #cache: ModelCache
  readonly #log: Log
  readonly #wallTime: () => number

  constructor({ bucket, cache, log, wallTime }: S3StoreTools) {
    this.#bucket = bucket
    this.#cache = cache
    this.#log = log
    this.#wallTime = wallTime
  }

  list(): Promise<StoredModel[]> {
    return this.#list('')
  }

  async highest(name: string): Promise<string> {
    try {
      return await this.#highestThere(name)
    } catch (error) {
      return this.#cachedVersion(name, undefined, error)
    }
  }

  async find(name: string, version?: string): Promise<ModelBundle> {
    try {
      return await this.#download(name, version ?? (await this.#highestThere(name)))
    } catch (error) {
      return this.#findCached(name, await this.#cachedVersion(name, version, error), error)
    }
  }

  add(bundle: ModelBundle): Promise<void> {
    return new BucketAdd(this.#bucket, bundle, this.#wallTime).run()
  }

  async #list(start: string): Promise<StoredModel[]> {
    const models = new Map<string, string[]>()
    for (const { key } of await this.#bucket.list(start)) {
      const [name = '', version = '', file, ...rest] = key.split('/')
      if (file !== MANIFEST_FILE || rest.length > 0 || !FOLDER_NAME.test(name) || !FOLDER_NAME.test(version)) continue
      const versions = models.get(name) ?? []
      models.set(name, versions)
      versions.push(version)
    }
    // In the order of code units, as a folder is listed; keys come in that of bytes.
    return [...models.keys()].sort().map(name => ({ name, versions: models.get(name)!.sort(compareVersions) }))
  }

  async #highestThere(name: string): Promise<string> {
    const [model] = FOLDER_NAME.test(name) ? await this.#list(`${name}/`) : []
    if (model === undefined) throw missingModel(this.#bucket.name, name, await this.list())
    return model.versions.at(-1)!
  }

  async #download(name: string, version: string): Promise<ModelBundle> {
    const place = `${name}/${version}`
    const named = FOLDER_NAME.test(name) && FOLDER_NAME.test(version)
    const manifest = named ? await this.#bucket.read(`${place}/${MANIFEST_FILE}`) : undefined
    if (manifest === undefined) throw await this.#missing(name, version)
    const { sha256 } = parseManifest(this.#named(place, MANIFEST_FILE), manifest.bytes.toString('utf8'))
    const expected = new Map(await this.#expected(place)).set(MODEL_FILE, sha256)
    await this.#cache.sweep(this.#wallTime())
    const checksums = new Map<string, string>()
    for (const [path, hash] of expected) checksums.set(path, await this.#content(place, path, hash))
    return this.#cache.assemble(name, version, manifest.bytes, checksums)
  }

  /** The files of a bundle but model.json, with their hashes, as far as they are known before they are read. */
  async #expected(place: string): Promise<Map<string, string | undefined>> {
    const file = `${place}/${CHECKSUM_FILE}`
    const checksums = await this.#bucket.read(file)
    if (checksums !== undefined) return new Map(parseChecksums(this.#named(file), checksums.bytes.toString('utf8')))
    const listed = await this.#bucket.list(`${place}/`)
    // Some tools make objects that stand for folders.
    const paths = listed
      .map(({ key }) => key.slice(place.length + 1))
      .filter(path => path !== '' && !path.endsWith('/'))
    const outside = paths.find(path => !isInside(path))
    if (outside !== undefined) {
      throw new SluiceError(
        'model-corrupt',
        `${this.#named(place, outside)} would lead out of the folder of its bundle`,
      )
    }
    return new Map(paths.filter(path => path !== MANIFEST_FILE).map(path => [path, undefined]))
  }

  /** Sees to it that the cache has a file of a bundle; returns the hash under which it does. */
  async #content(place: string, path: string, expected: string | undefined): Promise<string> {
    if (expected !== undefined && (await this.#cache.has(expected))) return expected
    // Content that is complete but wrong is wrong in the store: to download it again would not help.
    const found = await this.#bucket.download(`${place}/${path}`, content => this.#cache.receive(content))
    const file = this.#named(place, path)
    if (found === undefined) throw new SluiceError('model-corrupt', `${file} is missing from the bundle`)
    if (found === (expected ?? found)) return found
    const source = path === MODEL_FILE ? MANIFEST_FILE : CHECKSUM_FILE
    throw new SluiceError('model-corrupt', `${file} has the SHA-256 ${found}, but ${source} says ${expected}`)
  }

  /**
   * The version that the cache has in place of one, or of the highest, that the store could not give; the log says so.
   * Throws `error`, for which that was, when there is none, or when the error is another than that the store is away.
   */
  async #cachedVersion(name: string, version: string | undefined, error: unknown): Promise<string> {
    if (!isUnreachable(error)) throw error
    const versions = (await this.#cache.list()).find(model => model.name === name)?.versions ?? []
    const found = version ?? versions.at(-1)
    if (found === undefined || !versions.includes(found)) throw error
    const highest = version === undefined ? ', the highest there: the store may have a higher one' : ''
    this.#log.warn({ model: name, version: found }, `${error.message}; the version in the cache is taken${highest}`)
    return found
  }

  async #findCached(name: string, version: string, away: unknown): Promise<ModelBundle> {
    try {
      return await this.#cache.find(name, version)
    } catch (error) {
      const problem = `${messageOf(away)}; and what the cache has cannot serve: ${messageOf(error)}`
      throw new SluiceError('store-unreachable', problem)
    }
  }

  async #missing(name: string, version: string): Promise<SluiceError> {
    const models = await this.list()
    const model = models.find(each => each.name === name)
    if (model === undefined) return missingModel(this.#bucket.name, name, models)
    return missingVersion(this.#bucket.name, model, version)
  }

  #named(...path: string[]): string {
    return [this.#bucket.name, ...path].join('/')
  }
}
