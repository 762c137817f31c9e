import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { addToSchemaDir } from './schema-dir-writer.ts'
import { IDS_FILE, readIds } from './schema-ids.ts'
import type { SchemaSource } from './schema-source.ts'
import { canonicalForm, derivedSchemaId } from './writer-schema.ts'

/**
 * A folder of schemas that stands in for a registry. Schemas that were read are kept; `ids.json` is read again when it
 * has changed and an unknown id comes.
 */
export class SchemaDir implements SchemaSource {
  readonly #folder: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #schemas = new Map<number, string>()
  #readVersion = ''

  /** @throws SluiceError `schema-dir-invalid` when the folder, its `ids.json` or a file that it lists cannot be read. */
  static async open(folder: string, clock: Clock, log: Log): Promise<SchemaDir> {
    const dir = new SchemaDir(folder, clock, log)
    try {
      await dir.#read()
    } catch (error) {
      throw new SluiceError('schema-dir-invalid', messageOf(error), { cause: error })
    }
    return dir
  }

  private constructor(folder: string, clock: Clock, log: Log) {
    this.#folder = folder
    this.#clock = clock
    this.#log = log
  }

  /** Schemas by id, as they were read last. */
  get schemas(): ReadonlyMap<number, string> {
    return this.#schemas
  }

  async find(id: number): Promise<string | undefined> {
    const known = this.#schemas.get(id)
    if (known !== undefined) return known
    try {
      await this.#read()
    } catch (error) {
      // Perhaps a person is editing it: wait rather than call the record bad.
      throw new SluiceError('registry-unreachable', messageOf(error), { cause: error })
    }
    return this.#schemas.get(id)
  }

  /**
   * The id under which the folder lists an equal schema, otherwise one derived from the schema, the same on every
   * replica. The schema is then added to the folder for those who read the predictions; where the folder cannot be
   * written to, that is only logged, at debug level.
   */
  async register(subject: string, schema: string): Promise<number> {
    const canonical = canonicalForm(schema)
    const listed = this.#idOf(canonical)
    if (listed !== undefined) return listed
    const id = derivedSchemaId(canonical)
    if (this.#schemas.has(id)) {
      throw new SluiceError(
        'schema-dir-invalid',
        `${this.#folder} lists another schema under ${id}, the id derived for ${subject}; list that schema under an id of its own`,
      )
    }
    try {
      await addToSchemaDir(this.#folder, { id, subject, schema }, this.#clock)
    } catch (error) {
      this.#log.debug({ subject, schemaId: id, reason: messageOf(error) }, 'The schema was not added to SCHEMA_DIR.')
    }
    this.#schemas.set(id, schema)
    return id
  }

  #idOf(canonical: string): number | undefined {
    for (const [id, schema] of this.#schemas) {
      try {
        if (canonicalForm(schema) === canonical) return id
      } catch {
        // An unusable schema equals none; who uses it is told.
      }
    }
    return undefined
  }

  async #read(): Promise<void> {
    const { mtimeMs, size, ino } = await stat(join(this.#folder, IDS_FILE)).catch(error => {
      throw new Error(`${join(this.#folder, IDS_FILE)} cannot be read: ${messageOf(error)}`)
    })
    const version = `${mtimeMs} ${size} ${ino}`
    if (version === this.#readVersion) return
    for (const [id, file] of await readIds(this.#folder)) {
      if (!this.#schemas.has(id)) this.#schemas.set(id, await readSchema(this.#folder, id, file))
    }
    this.#readVersion = version
  }
}

async function readSchema(folder: string, id: number, file: string): Promise<string> {
  try {
    return await readFile(join(folder, file), 'utf8')
  } catch (error) {
    throw new Error(`${join(folder, file)}, which ${IDS_FILE} lists under ${id}, cannot be read: ${messageOf(error)}`)
  }
}
