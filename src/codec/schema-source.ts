/** Where writer schemas come from, and where the schema of predictions goes. */
export interface SchemaSource {
  /**
   * The text of the schema with this id, or undefined when the source knows that there is none.
   * @throws SluiceError `registry-unreachable` when that cannot be told now; `unusable-schema` when there is one that no
   *   decoder can use, such as Protobuf.
   */
  find(id: number): Promise<string | undefined>

  /**
   * The id of `schema` under `subject`, after registering it where it is new.
   * @throws SluiceError `registry-unreachable` when trying again may help, otherwise `registry-refused` or
   *   `schema-dir-invalid`.
   */
  register(subject: string, schema: string): Promise<number>
}
