// @solana/kit, with codecs made from the IDL: calls any instruction, tells its events and errors, reads any account.
import {
  AccountRole, address, appendTransactionMessageInstruction, assertAccountExists, createKeyPairSignerFromBytes,
  createSolanaRpc, createSolanaRpcSubscriptions, createTransactionMessage, fetchEncodedAccount, fixCodecSize,
  getAddressCodec, getBooleanCodec, getBytesCodec, getConstantCodec, getHiddenPrefixCodec, getI32Codec, getI64Codec,
  getSignatureFromTransaction, getStructCodec, getU16Codec, getU32Codec, getU64Codec, getU8Codec, isProgramError, pipe,
  sendAndConfirmTransactionFactory, setTransactionMessageFeePayerSigner, setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from "@solana/kit";
import { drive, idl, plain, rpcUrl, wallets, wsUrl } from "./drive.mjs";

const rpc = createSolanaRpc(rpcUrl);
const sendAndConfirm = sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions: createSolanaRpcSubscriptions(wsUrl) });
const signers = Object.fromEntries(await Promise.all(
  wallets.map(async ([name, key]) => [name, await createKeyPairSignerFromBytes(key)])));

const simple = {
  bool: getBooleanCodec(), u8: getU8Codec(), u16: getU16Codec(), u32: getU32Codec(), u64: getU64Codec(),
  i32: getI32Codec(), i64: getI64Codec(), pubkey: getAddressCodec(),
};
const fieldsOf = (name) => idl.types.find((known) => known.name === name).type.fields;
const structOf = (fields) => getStructCodec(fields.map((field) => [field.name, codecOf(field.type)]));
const codecOf = (type) => simple[type] ??
  (type.array ? fixCodecSize(getBytesCodec(), type.array[1]) : structOf(fieldsOf(type.defined.name)));
const behind = (discriminator, codec) =>
  getHiddenPrefixCodec(codec, [getConstantCodec(Uint8Array.from(discriminator))]);
const instructions = Object.fromEntries(idl.instructions.map(
  (one) => [one.name, { ...one, codec: behind(one.discriminator, structOf(one.args)) }]));
const codecs = (list) => list.map(({ name, discriminator }) =>
  ({ name, discriminator, codec: behind(discriminator, structOf(fieldsOf(name))) }));
const accountCodecs = codecs(idl.accounts);
const eventCodecs = codecs(idl.events);
const scalar = (value) => (typeof value === "bigint" ? value.toString() : undefined);

function instruction(name, args, accounts, signer) {
  const spec = instructions[name];
  return {
    programAddress: address(idl.address),
    accounts: spec.accounts.map(({ name: role, writable, signer: signs }) => {
      // An optional account that isn't given is the program itself, as in Anchor.
      if (accounts[role] === null) return { address: address(idl.address), role: AccountRole.READONLY };
      const how = (writable ? AccountRole.WRITABLE : AccountRole.READONLY) | (signs ? AccountRole.READONLY_SIGNER : 0);
      return { address: address(accounts[role]), role: how, ...(signs ? { signer } : {}) };
    }),
    data: spec.codec.encode(args),
  };
}

function events(logs) {
  // Nothing but this program writes data in these transactions; a stranger's log would need its depth looked at.
  return logs.filter((line) => line.startsWith("Program data: ")).map((line) => {
    const data = Buffer.from(line.slice(14), "base64");
    const known = eventCodecs.find(({ discriminator }) => data.subarray(0, 8).equals(Buffer.from(discriminator)));
    return { name: known.name, fields: plain(known.codec.decode(data), scalar) };
  });
}

async function call({ call: name, args, accounts, signer }) {
  const { value: latest } = await rpc.getLatestBlockhash({ commitment: "confirmed" }).send();
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (m) => setTransactionMessageFeePayerSigner(signers[signer], m),
    (m) => setTransactionMessageLifetimeUsingBlockhash(latest, m),
    (m) => appendTransactionMessageInstruction(instruction(name, args, accounts, signers[signer]), m),
  );
  const signed = await signTransactionMessageWithSigners(message);
  const signature = getSignatureFromTransaction(signed);
  try {
    await sendAndConfirm(signed, { commitment: "confirmed" });
  } catch (error) {
    if (!isProgramError(error.cause ?? error, message, address(idl.address))) throw error;
    const known = idl.errors.find(({ code }) => code === (error.cause ?? error).context.code);
    return { refused: { code: known.code, message: known.msg, logs: error.context.logs } };
  }
  const landed = await rpc.getTransaction(signature, {
    commitment: "confirmed", encoding: "json", maxSupportedTransactionVersion: 0,
  }).send();
  return { signature, events: events(landed.meta.logMessages) };
}

await drive({
  call,
  fetch: async ({ fetch: kind, address: key }) => {
    const account = await fetchEncodedAccount(rpc, address(key), { commitment: "confirmed" });
    assertAccountExists(account);
    return plain(accountCodecs.find(({ name }) => name === kind).codec.decode(account.data), scalar);
  },
});
