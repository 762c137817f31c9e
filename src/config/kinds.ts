import { parseStoreAddress, STORE_ADDRESS_RULE } from '../core/store-address.ts'
import { redactUrl } from './redact.ts'

/**
 * What values a setting may have: how text becomes one, how one is shown, and the words for what is allowed.
 * `T` is what the rest of the program sees.
 */
export interface Kind<T> {
  /** What is allowed, in as few words as the docs have room for. */
  readonly type: string
  /** Completes "must be …". */
  readonly allowed: string
  /** Undefined when `text`, which is not empty and has no spaces around it, is not allowed. Never throws. */
  parse(text: string): T | undefined
  /** The text that `parse` reads, as far as it may be shown. */
  show(value: T): string
  /** Of a value that `parse` refused: what may be shown of it. Left out: all. */
  showInvalid?(text: string): string
}

function pattern(type: string, allowed: string, expression: RegExp): Kind<string> {
  return { type, allowed, parse: text => (expression.test(text) ? text : undefined), show: value => value }
}

export const text: Kind<string> = pattern('text', 'text without NUL bytes', /^[^\0]+$/)

export const path: Kind<string> = pattern('path', 'the path of a file or folder', /^[^\0]+$/)

/** What `TopicConfig` of Kafka allows. */
export const topic: Kind<string> = pattern(
  'topic name',
  'a topic name: 1 to 249 letters, digits, ".", "_" or "-", but not "." or ".."',
  /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/,
)

/** The name of a folder in the model store. It can never lead out of it. */
export const name: Kind<string> = pattern(
  'name',
  'letters, digits, ".", "_" and "-", beginning with a letter or a digit',
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
)

/** A folder or a bucket. Credentials have no place in it; whoever puts them there does not see them in a log. */
export const store: Kind<string> = {
  type: 'folder or s3://bucket[/prefix]',
  allowed: STORE_ADDRESS_RULE,
  parse: text => (parseStoreAddress(text) === undefined ? undefined : text),
  show: value => value,
  showInvalid: redactUrl,
}

/** A whole number in [min, max]. */
export function integer(min: number, max: number): Kind<number> {
  return {
    type: `${min} to ${max}`,
    allowed: `a whole number from ${min} to ${max}`,
    parse(text) {
      const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
      return value >= min && value <= max ? value : undefined
    },
    show: String,
  }
}

/** A decimal number in [min, max]. */
export function fraction(min: number, max: number): Kind<number> {
  return {
    type: `${min} to ${max}`,
    allowed: `a number from ${min} to ${max}`,
    parse(text) {
      const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN
      return value >= min && value <= max ? value : undefined
    },
    show: String,
  }
}

/** Milliseconds, as far as a timer of Node can count. */
export function milliseconds(min: number): Kind<number> {
  return { ...integer(min, 2 ** 31 - 1), type: `from ${min}` }
}

export function oneOf<const T extends string>(...values: readonly T[]): Kind<T> {
  return {
    type: alternatives(values.map(value => `\`${value}\``)),
    allowed: alternatives(values),
    parse: text => values.find(value => value === text),
    show: value => value,
  }
}

const alternatives = (values: readonly string[]) => values.join(', ').replace(/, ([^,]*)$/, ' or $1')

const BOOLEANS = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['0', false],
  ['no', false],
  ['off', false],
])

export const boolean: Kind<boolean> = {
  type: 'true or false',
  allowed: 'true or false',
  parse: text => BOOLEANS.get(text.toLowerCase()),
  show: String,
}

const HOST_PORT = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/

/** Addresses of brokers, at least one. */
export const brokers: Kind<readonly string[]> = {
  type: 'host:port, …',
  allowed: 'host:port, several separated by commas',
  parse(text) {
    const addresses = text.split(',').map(address => address.trim())
    const good = addresses.every(address => {
      const port = Number(HOST_PORT.exec(address)?.[1])
      return port >= 1 && port <= 65535
    })
    return good ? addresses : undefined
  },
  show: value => value.join(','),
}

/** An http or https address. Whatever credentials it carries are never shown. */
export const url: Kind<string> = {
  type: 'http(s) address',
  allowed: 'an address that begins with http:// or https://',
  parse(text) {
    const parsed = URL.parse(text)
    return parsed && /^https?:$/.test(parsed.protocol) && /^https?:\/\//i.test(text) ? text : undefined
  },
  show: redactUrl,
  showInvalid: redactUrl,
}
