import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = new URL('../', import.meta.url)
const PAGE = 'RESULTS.md'
const DATA = 'RESULTS.jsonl'

/** A part of bench/RESULTS.md, replaced as a whole when it is measured again. */
export interface Section {
  /** Between what marks the part stands: letters, digits and hyphens. */
  readonly name: string
  readonly text: string
  /** All figures, for a line of RESULTS.jsonl. */
  readonly data: unknown
  /** Plots by file name, for `bench/images/`. */
  readonly plots?: Readonly<Record<string, string>>
}

/** Puts sections in the place of those of the same name in `folder`: bench/ unless given. New ones come last. */
export function record(sections: readonly Section[], folder: URL = FOLDER): void {
  let page = read(new URL(PAGE, folder)) ?? '# Results\n'
  const lines = (read(new URL(DATA, folder)) ?? '').split('\n').filter(line => line !== '')
  const data = new Map(lines.map(line => [(JSON.parse(line) as { name: string }).name, line]))
  for (const section of sections) {
    const { name } = section
    page = replaced(page, section)
    data.set(name, JSON.stringify({ name, data: section.data }, shortNumbers))
    for (const [file, svg] of Object.entries(section.plots ?? {})) write(new URL(`images/${file}`, folder), svg)
  }
  write(new URL(PAGE, folder), page)
  write(new URL(DATA, folder), `${[...data.values()].join('\n')}\n`)
}

/** For JSON.stringify: six digits are more than a measurement is good for. */
function shortNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
}

/** The page with a section in its place, between marks that nobody sees. */
export function replaced(page: string, { name, text }: Pick<Section, 'name' | 'text'>): string {
  const [begin, end] = [`<!-- ${name}: made by npm run bench -- --record -->`, `<!-- end of ${name} -->`]
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  const block = `${begin}\n\n${text.trim()}\n\n${end}`
  if (from < 0 || to < from) return `${page.trimEnd()}\n\n${block}\n`
  return page.slice(0, from) + block + page.slice(to + end.length)
}

function read(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function write(file: URL, text: string): void {
  mkdirSync(dirname(fileURLToPath(file)), { recursive: true })
  writeFileSync(file, text)
}
