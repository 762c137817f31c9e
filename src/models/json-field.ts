import { SluiceError } from '../core/errors.ts'

/** A place in a JSON file and the value found there, so that every complaint can name both. */
export class JsonField {
  readonly #file: string
  readonly #path: string
  /** Undefined where the file has nothing. */
  readonly value: unknown

  private constructor(file: string, path: string, value: unknown) {
    this.#file = file
    this.#path = path
    this.value = value
  }

  /** The whole of `text`; `file` names it in messages. @throws SluiceError `model-corrupt` when it is not JSON. */
  static parse(file: string, text: string): JsonField {
    try {
      return new JsonField(file, '', JSON.parse(text))
    } catch (error) {
      throw new SluiceError('model-corrupt', `${file} is not valid JSON: ${(error as Error).message}`, { cause: error })
    }
  }

  get isPresent(): boolean {
    return this.value !== undefined
  }

  /** The fields of an object by name, those that are missing too. Without `names` any may occur, otherwise no others. */
  object<Name extends string>(names?: readonly Name[]): Record<Name, JsonField> {
    const { value } = this
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.wrong('an object')
    const record = value as Record<string, unknown>
    const unknown = names && Object.keys(record).find(key => !names.includes(key as Name))
    if (unknown !== undefined) throw this.#field(unknown).wrong(`no such field; there are ${names!.join(', ')}`)
    const fields = (names ?? Object.keys(record)).map(name => [name, this.#field(name)] as const)
    return Object.fromEntries(fields) as Record<Name, JsonField>
  }

  /** The elements of an array that has at least one. */
  elements(): JsonField[] {
    if (!Array.isArray(this.value) || this.value.length === 0) throw this.wrong('an array of at least one element')
    return this.value.map((element, index) => new JsonField(this.#file, `${this.#path}[${index}]`, element))
  }

  string(pattern: RegExp, expected: string): string {
    if (typeof this.value !== 'string' || !pattern.test(this.value)) throw this.wrong(expected)
    return this.value
  }

  oneOf<Value extends string | number>(values: readonly Value[]): Value {
    if (!values.includes(this.value as Value)) throw this.wrong(`one of ${values.join(', ')}`)
    return this.value as Value
  }

  integer(minimum: number, maximum: number): number {
    const number = this.value
    if (!Number.isInteger(number) || (number as number) < minimum || (number as number) > maximum) {
      throw this.wrong(`a whole number from ${minimum} to ${maximum}`)
    }
    return number as number
  }

  /** A finite number of at least 0. */
  magnitude(): number {
    if (typeof this.value !== 'number' || this.value < 0) throw this.wrong('a number of at least 0')
    return this.value
  }

  /** The error that this place holds something else than `expected`. */
  wrong(expected: string): SluiceError {
    const where = this.#path === '' ? 'its content' : this.#path
    return new SluiceError('model-corrupt', `${this.#file}: ${where} is ${describe(this.value)}; expected ${expected}`)
  }

  #field(name: string): JsonField {
    const record = this.value as Record<string, unknown>
    const path = this.#path === '' ? name : `${this.#path}.${name}`
    return new JsonField(this.#file, path, Object.hasOwn(record, name) ? record[name] : undefined)
  }
}

const LONGEST_SHOWN = 80

function describe(value: unknown): string {
  if (value === undefined) return 'missing'
  const text = JSON.stringify(value)
  return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN)}…`
}
