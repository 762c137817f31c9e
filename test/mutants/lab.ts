import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Edit, Mutant } from './mutants.ts'

const ROOT = join(import.meta.dirname, '../..')
/** What the simulation needs of the checkout: copied, or only linked. */
const COPIED = ['src', 'test/sim', 'test/pipeline', 'test/support/timeline.ts', 'dev/command-line.ts']
const LINKED = ['node_modules', 'package.json']

export interface Limits {
  /** Schedules a mutant may survive. */
  readonly schedules: number
  readonly seed: number
  /** Whether to leave out the schedules that are known to be hard, and trust to luck alone. */
  readonly random: boolean
}

/** What the simulation said of one copy of the code. */
export interface Verdict {
  /** The name of the mutant; undefined for the code as it is. */
  readonly mutant: string | undefined
  /** What the oracle found broken; undefined when nothing was. */
  readonly breach: string | undefined
  readonly message: string | undefined
  /** Schedules played. */
  readonly schedules: number
  readonly seconds: number
  readonly seed: number
}

/**
 * Lets the simulation look at a copy of the checkout in a temporary folder, with a mutant's edits in it, until a schedule
 * fails. The folder is gone afterwards.
 * @param mutant undefined for the code as it is
 * @throws when an edit does not match exactly once, or the simulation does not run
 */
export async function examine(mutant: Mutant | undefined, limits: Limits): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-mutant-'))
  try {
    for (const path of COPIED) await cp(join(ROOT, path), join(folder, path), { recursive: true })
    for (const path of LINKED) await symlink(join(ROOT, path), join(folder, path))
    for (const edit of mutant?.edits ?? []) await apply(edit, folder)
    return { mutant: mutant?.name, ...(await simulate(folder, limits)) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** @throws when an edit of the mutant does not fit the checkout any more */
export async function requireUpToDate({ edits }: Mutant): Promise<void> {
  await Promise.all(edits.map(edit => edited(edit, ROOT)))
}

/** The change as `diff -u` would show it, for a mutant that survived. */
export function diffOf({ edits }: Mutant): string {
  const lines = (text: string, sign: string) => text.split('\n').map(line => sign + line)
  const hunks = edits.map(({ file, find, replace }) => [`--- ${file}`, ...lines(find, '-'), ...lines(replace, '+')])
  return hunks.flat().join('\n')
}

async function apply(edit: Edit, folder: string): Promise<void> {
  await writeFile(join(folder, edit.file), await edited(edit, folder))
}

/** The file with the edit in it. */
async function edited({ file, find, replace }: Edit, folder: string): Promise<string> {
  const [before, after, ...more] = (await readFile(join(folder, file), 'utf8')).split(find)
  if (after !== undefined && more.length === 0) return before + replace + after
  const found = after === undefined ? 'nowhere' : `${more.length + 2} times`
  throw new Error(`The mutant is out of date: found ${found} in ${file}, where it should be once:\n${find}`)
}

async function simulate(folder: string, { schedules, seed, random }: Limits): Promise<Omit<Verdict, 'mutant'>> {
  const options = [
    '--first',
    '--json',
    '--schedules',
    String(schedules),
    '--seed',
    String(seed),
    ...(random ? ['--random'] : []),
  ]
  const child = spawn(process.execPath, [join(folder, 'test/sim/run.ts'), ...options], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>(resolve => child.once('close', resolve))
  const [said, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  try {
    return JSON.parse(said)
  } catch {
    throw new Error(`The simulation ended with ${code}:\n${said}${errors}`)
  }
}
