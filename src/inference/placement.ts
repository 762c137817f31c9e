import { SluiceError } from '../core/errors.ts'

/** An execution provider, on a device where the provider has several. */
export interface Provider {
  readonly name: string
  /** Device number, or null for providers without devices. */
  readonly device: number | null
}

/** Where one session runs: on the first of these that can open the model. Never empty. */
export type Placement = readonly Provider[]

/** The providers that SESSIONS may name, and whether each takes a device number. */
const PROVIDERS: ReadonlyMap<string, { readonly devices: boolean }> = new Map([
  ['cpu', { devices: false }],
  ['cuda', { devices: true }],
  ['tensorrt', { devices: true }],
  ['dml', { devices: true }],
  ['coreml', { devices: false }],
  ['webgpu', { devices: false }],
])

/** Enough for eight sessions on each of eight GPUs; more threads than that is a slip of the finger. */
const MAX_SESSIONS = 64

const GRAMMAR =
  'expected a comma-separated list of PROVIDER[:DEVICE][|PROVIDER[:DEVICE]…][*COUNT], ' +
  'for example cpu*2, or cuda:0*2,cuda:1*2, or tensorrt:0,cpu, or cuda:0|cpu'

/**
 * Parses SESSIONS: one placement for each session, in the order written. `*N` repeats a placement; `|` separates
 * alternatives, of which a session takes the first that opens its model. A provider with devices that names none
 * means device 0.
 * @throws SluiceError `invalid-config`, naming the part and showing the grammar.
 */
export function parseSessions(text: string): Placement[] {
  const placements = text.split(',').flatMap(part => parsePart(text, part.trim()))
  if (placements.length > MAX_SESSIONS) {
    throw invalid(text, `that makes ${placements.length} sessions, and at most ${MAX_SESSIONS} are allowed`)
  }
  return placements
}

/** How a provider appears in headers, metrics and logs: `cpu`, `cuda:0`. */
export function labelOf(provider: Provider): string {
  return provider.device === null ? provider.name : `${provider.name}:${provider.device}`
}

/**
 * Threads that the runtime may use inside one session. `configured` itself, or for 0 the session's share of `cores`:
 * divided by the sessions that may run on the CPU, or by all sessions where none may; at least 1.
 */
export function threadsPerSession(configured: number, placements: readonly Placement[], cores: number): number {
  if (configured > 0) return configured
  const onCpu = placements.filter(placement => placement.some(provider => provider.name === 'cpu')).length
  return Math.max(1, Math.floor(cores / (onCpu || placements.length)))
}

function parsePart(text: string, part: string): Placement[] {
  if (part === '') throw invalid(text, 'a part of the list is empty')
  const [alternatives = '', count, ...rest] = part.split('*').map(piece => piece.trim())
  if (rest.length > 0) throw invalid(text, `"${part}" has more than one "*"`)
  const placement = alternatives.split('|').map(provider => parseProvider(text, provider.trim()))
  return new Array<Placement>(parseCount(text, part, count)).fill(placement)
}

function parseCount(text: string, part: string, count: string | undefined): number {
  if (count === undefined) return 1
  if (!/^\d{1,4}$/.test(count) || Number(count) < 1) {
    throw invalid(text, `the count in "${part}" is "${count}", which is no whole number from 1 to ${MAX_SESSIONS}`)
  }
  return Number(count)
}

function parseProvider(text: string, written: string): Provider {
  const [name = '', device, ...rest] = written.split(':')
  const known = PROVIDERS.get(name)
  if (known === undefined) {
    throw invalid(text, `"${name}" is no execution provider; there are ${[...PROVIDERS.keys()].join(', ')}`)
  }
  if (!known.devices) {
    if (device !== undefined) throw invalid(text, `"${written}" names a device, and ${name} has none`)
    return { name, device: null }
  }
  if (rest.length > 0 || (device !== undefined && !/^\d{1,3}$/.test(device))) {
    throw invalid(text, `the device in "${written}" is no number`)
  }
  return { name, device: Number(device ?? 0) }
}

function invalid(text: string, problem: string): SluiceError {
  return new SluiceError('invalid-config', `SESSIONS is "${text}": ${problem}; ${GRAMMAR}`)
}
