import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../core/errors.ts'

/** The file that maps ids to schema files: `{"1": "iris-features.avsc"}`. */
export const IDS_FILE = 'ids.json'

const FIRST_TO_LAST_ID = /^[1-9][0-9]{0,9}$/

/**
 * The files that `ids.json` lists, by id.
 * @throws Error that names the file, when it is no map of ids to files.
 */
export async function readIds(folder: string): Promise<Map<number, string>> {
  const path = join(folder, IDS_FILE)
  let ids: unknown
  try {
    ids = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new Error(`${path} cannot be read: ${messageOf(error)}`)
  }
  if (typeof ids !== 'object' || ids === null || Array.isArray(ids)) {
    throw new Error(`${path} is no JSON object; expected ids and files, such as {"1": "iris-features.avsc"}`)
  }
  return new Map(Object.entries(ids).map(([id, file]) => [idOf(id, path), fileOf(file, id, path)]))
}

function idOf(key: string, path: string): number {
  const id = Number(key)
  if (FIRST_TO_LAST_ID.test(key) && id < 2 ** 31) return id
  throw new Error(`${path} lists the id ${JSON.stringify(key)}; expected a whole number from 1 to 2147483647`)
}

function fileOf(file: unknown, id: string, path: string): string {
  if (typeof file === 'string' && /^[^/\\]+$/.test(file)) return file
  throw new Error(`${path} gives ${JSON.stringify(file)} for id ${id}; expected the name of a file beside it`)
}
