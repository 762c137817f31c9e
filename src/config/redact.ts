/** Stands where a secret was. */
export const REDACTED = '***'

/**
 * An address without what may be secret in it: user, password, query and fragment. Text that is no address is shown
 * only if it has no sign of these, since a mistyped address holds its password all the same.
 */
export function redactUrl(text: string): string {
  const url = URL.parse(text)
  if (!url?.host) return /[@?#]/.test(text) ? REDACTED : text
  const credentials = url.username || url.password ? `${REDACTED}@` : ''
  const rest = url.search || url.hash ? `?${REDACTED}` : ''
  const path = url.pathname === '/' && !/^[^?#]*\/\/[^/?#]*\//.test(text) ? '' : url.pathname
  return `${url.protocol}//${credentials}${url.host}${path}${rest}`
}
