// @coral-xyz/anchor: calls any instruction of the IDL, tells its events and errors, reads any account. See drive.mjs.
import anchor from "@coral-xyz/anchor";
import { drive, idl, plain, rpcUrl, wallets, wsUrl } from "./drive.mjs";

const { AnchorProvider, BN, EventParser, Program, ProgramError, Wallet, parseIdlErrors, web3 } = anchor;
const connection = new web3.Connection(rpcUrl, { commitment: "confirmed", wsEndpoint: wsUrl });
const programs = Object.fromEntries(wallets.map(([name, key]) => {
  const wallet = new Wallet(web3.Keypair.fromSecretKey(key));
  return [name, new Program(idl, new AnchorProvider(connection, wallet, { commitment: "confirmed" }))];
}));
const [program] = Object.values(programs);
const parser = new EventParser(program.programId, program.coder);
const camel = (name) => name[0].toLowerCase() + name.slice(1).replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const scalar = (value) =>
  BN.isBN(value) ? value.toString() : value instanceof web3.PublicKey ? value.toBase58() : undefined;

function typed(type, value) {
  if (type === "u64" || type === "i64") return new BN(value);
  if (type === "pubkey") return new web3.PublicKey(value);
  if (!type.defined) return value;
  const { fields } = idl.types.find((known) => known.name === type.defined.name).type;
  return Object.fromEntries(fields.map((field) => [camel(field.name), typed(field.type, value[field.name])]));
}

async function call({ call: name, args, accounts, signer }) {
  const given = idl.instructions.find((known) => known.name === name).args.map((arg) => typed(arg.type, args[arg.name]));
  const keys = Object.fromEntries(Object.entries(accounts).map(([role, key]) => [camel(role), key]));
  let signature;
  try {
    signature = await programs[signer].methods[camel(name)](...given).accountsPartial(keys).rpc();
  } catch (error) {
    // Anchor 0.32 looks for one code in the whole text, which repeats it in current web3.js: give it the first line.
    const known = ProgramError.parse(error.transactionError?.message ?? error, parseIdlErrors(idl));
    if (known === null) throw error;
    return { refused: { code: known.code, message: known.msg, logs: error.logs } };
  }
  const landed = await connection.getTransaction(signature, { commitment: "confirmed", maxSupportedTransactionVersion: 0 });
  return { signature, events: [...parser.parseLogs(landed.meta.logMessages)].map(({ name: event, data }) =>
    ({ name: event[0].toUpperCase() + event.slice(1), fields: plain(data, scalar) })) };
}

await drive({
  call,
  fetch: async ({ fetch: kind, address }) => plain(await program.account[camel(kind)].fetch(address), scalar),
});
