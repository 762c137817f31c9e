/**
 * A plain value as JSON text, with what JSON.stringify drops or refuses: bigints as numbers, the sign of zero (a
 * prediction is to be read back as it was), non-finite numbers as strings, dates in ISO 8601, bytes in base64.
 */
export function plainJson(value: unknown): string {
  switch (typeof value) {
    case 'bigint':
      return value.toString()
    case 'number':
      if (!Number.isFinite(value)) return `"${value}"`
      return Object.is(value, -0) ? '-0' : String(value)
    case 'object':
      return value === null ? 'null' : objectJson(value)
    default:
      return JSON.stringify(value) ?? 'null'
  }
}

function objectJson(value: object): string {
  if (Array.isArray(value)) return `[${value.map(plainJson).join(',')}]`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'null' : `"${value.toISOString()}"`
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`
  if (ArrayBuffer.isView(value)) return `[${Array.from(value as Float64Array, plainJson).join(',')}]`
  const parts = Object.entries(value)
    .filter(([, part]) => part !== undefined)
    .map(([name, part]) => `${JSON.stringify(name)}:${plainJson(part)}`)
  return `{${parts.join(',')}}`
}

/** A plain value as the text of a cell: strings as they are, null as nothing, everything else as JSON without quotes. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return value
  const json = plainJson(value)
  return json.startsWith('"') ? json.slice(1, -1) : json
}
