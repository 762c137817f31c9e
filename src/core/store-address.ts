/** What MODEL_STORE may name: a folder, or a bucket of an S3-compatible object storage. */
export type StoreAddress =
  | { readonly scheme: 'folder'; readonly path: string }
  | {
      readonly scheme: 's3'
      readonly bucket: string
      /** What all keys begin with, without slashes around it; empty for the whole bucket. */
      readonly prefix: string
    }

export const STORE_ADDRESS_RULE = 'the path of a folder, or s3://bucket or s3://bucket/prefix'

/** Names of buckets: what Amazon S3 allows, and the capitals and underscores that other servers take. */
const S3_ADDRESS = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])((?:\/[A-Za-z0-9!_.*'()=+-]+)*)\/?$/

/**
 * Reads the value of MODEL_STORE; undefined where it is neither. Text with a scheme is never taken for a folder: a slip in
 * it would end as a folder of that name.
 */
export function parseStoreAddress(text: string): StoreAddress | undefined {
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text))
    return text.includes('\0') ? undefined : { scheme: 'folder', path: text }
  const match = S3_ADDRESS.exec(text)
  const prefix = match?.[2]?.slice(1) ?? ''
  if (match === null || prefix.split('/').some(part => part === '.' || part === '..')) return undefined
  return { scheme: 's3', bucket: match[1]!, prefix }
}
