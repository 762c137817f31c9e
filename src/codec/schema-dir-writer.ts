import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { IDS_FILE, readIds } from './schema-ids.ts'

const LOCK_FILE = `${IDS_FILE}.lock`
const LOCK_WAIT_MS = 20
const LOCK_TRIES = 250

/** A schema to add to a folder. */
export interface NewSchema {
  readonly id: number
  readonly subject: string
  readonly schema: string
}

/**
 * Writes a schema into a folder of schemas and lists it in `ids.json`; does nothing where the id is listed. Readers see
 * each file whole, before or after, and replicas that add at the same time take turns by a lock file.
 * @throws Error when the folder cannot be written to, or the lock is not given back within five seconds.
 */
export async function addToSchemaDir(folder: string, { id, subject, schema }: NewSchema, clock: Clock): Promise<void> {
  await lock(folder, clock)
  try {
    const ids = await readIds(folder)
    if (ids.has(id)) return
    const text = `${JSON.stringify(JSON.parse(schema), null, 2)}\n`
    const file = await freeName(folder, id, subject, text)
    await writeWhole(join(folder, file), text)
    ids.set(id, file)
    await writeWhole(join(folder, IDS_FILE), `${JSON.stringify(Object.fromEntries(ids), null, 2)}\n`)
  } finally {
    await rm(join(folder, LOCK_FILE), { force: true })
  }
}

/**
 * `<subject>.avsc`, unless another schema has that name: the subject's schema of before is still what an older id means.
 */
async function freeName(folder: string, id: number, subject: string, text: string): Promise<string> {
  const name = subject.replace(/[^A-Za-z0-9._-]/g, '_')
  const present = await readFile(join(folder, `${name}.avsc`), 'utf8').catch(() => text)
  return present === text ? `${name}.avsc` : `${name}.${id}.avsc`
}

async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`
  try {
    await writeFile(draft, text, { flag: 'wx' })
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

async function lock(folder: string, clock: Clock): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const handle = await open(join(folder, LOCK_FILE), 'wx')
      return await handle.close()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (tries === LOCK_TRIES)
        throw new Error(`${join(folder, LOCK_FILE)} is held; remove it if no worker is starting`)
      await clock.sleep(LOCK_WAIT_MS)
    }
  }
}
