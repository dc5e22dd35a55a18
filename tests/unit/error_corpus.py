"""A corpus of errors of our own making: what LLM applications raise, with the parts that vary filled in by a seed."""

# ruff: noqa: E501  # messages as they are

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

Maker = Callable[[random.Random], str]

MODELS = ("gpt-4o", "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet", "mistral-large-2407", "llama3.1:70b", "o3-mini")
TOOLS = ("search_filings", "get_quote", "calculator", "sql_query", "fetch_news", "convert_currency")
HOSTS = ("api.openai.com", "llm-gateway.internal", "vector-db.prod.svc", "10.3.7.21", "eu.api.example.com")
SCHEMAS = ("Answer", "TradePlan", "CompanyProfile", "RiskReport")
FIELDS = ("ticker", "amount", "currency", "period_end", "confidence")
SAYINGS = (
    "I think the answer is 42",
    "Sure! Here is the balance sheet that you asked for, in millions of euros",
    "As of the last quarter the company had no debt",
    "Action: search[apple inc]",
    "{'final': 'see above'",
    "Sorry, I cannot help with that request because it concerns a person",
    "The revenue was 3.2 billion, up 4 % on the year before",
    "```json",
)


def n(r: random.Random, low: int = 1, high: int = 99_999) -> int:
    """Return a number."""
    return r.randint(low, high)


def word(r: random.Random, size: int = 8) -> str:
    """Return an identifier of letters and digits."""
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(size))


def uid(r: random.Random) -> str:
    """Return a UUID."""
    return str(uuid.UUID(int=r.getrandbits(128)))


def trace(r: random.Random, frames: list[tuple[str, str]], last: str) -> str:
    """Return a traceback with line numbers that move from release to release."""
    lines = ["Traceback (most recent call last):"]
    for path, function in frames:
        lines += [f'  File "{path}", line {n(r, 1, 900)}, in {function}', f"    value = call_{n(r, 1, 9)}(argument)"]
    return "\n".join([*lines, last])


LIB = "/usr/lib/python3.12/site-packages"

TUNED: dict[str, Maker] = {
    "openai tokens per minute": lambda r: (
        f"openai.RateLimitError: Error code: 429 - {{'error': {{'message': 'Rate limit reached for {r.choice(MODELS)} in "
        f"organization org-{word(r)} on tokens per min (TPM): Limit {n(r)}, Used {n(r)}, Requested {n(r)}. Please try "
        f"again in {n(r, 1, 59)}.{n(r, 1, 9)}s.', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}}}"
    ),
    "openai quota": lambda r: (
        "openai.RateLimitError: Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check "
        "your plan and billing details.', 'type': 'insufficient_quota', 'param': None, 'code': 'insufficient_quota'}}"
    ),
    "openai context length": lambda r: (
        f"openai.BadRequestError: Error code: 400 - {{'error': {{'message': \"This model's maximum context length is "
        f'{n(r)} tokens. However, your messages resulted in {n(r)} tokens. Please reduce the length of the messages.", '
        "'type': 'invalid_request_error', 'param': 'messages', 'code': 'context_length_exceeded'}}"
    ),
    "openai bad key": lambda r: (
        f"openai.AuthenticationError: Error code: 401 - {{'error': {{'message': 'Incorrect API key provided: "
        f"sk-{word(r, 4)}****{word(r, 4)}. You can find your API key at https://platform.openai.com/account/api-keys.', "
        "'type': 'invalid_request_error', 'param': None, 'code': 'invalid_api_key'}}"
    ),
    "openai no such model": lambda r: (
        f"openai.NotFoundError: Error code: 404 - {{'error': {{'message': 'The model `{r.choice(MODELS)}` does not exist "
        "or you do not have access to it.', 'type': 'invalid_request_error', 'param': None, 'code': 'model_not_found'}}"
    ),
    "openai server": lambda r: (
        f"openai.InternalServerError: Error code: 500 - {{'error': {{'message': 'The server had an error processing your "
        f"request. Contact us through our help center if the error persists. (request ID {word(r, 32)})', 'type': "
        "'server_error', 'param': None, 'code': None}}"
    ),
    "openai timed out": lambda r: "openai.APITimeoutError: Request timed out.",
    "openai connection": lambda r: "openai.APIConnectionError: Connection error.",
    "openai function schema": lambda r: (
        f"openai.BadRequestError: Error code: 400 - {{'error': {{'message': \"Invalid schema for function "
        f"'{r.choice(TOOLS)}': In context=('properties', '{r.choice(FIELDS)}'), array schema missing items.\", 'type': "
        "'invalid_request_error', 'param': 'tools[0].function.parameters', 'code': 'invalid_function_parameters'}}"
    ),
    "langchain parser": lambda r: (
        f"langchain_core.exceptions.OutputParserException: Could not parse LLM output: {r.choice(SAYINGS)}"
    ),
    "langchain invalid json": lambda r: (
        f"langchain_core.exceptions.OutputParserException: Invalid json output: {r.choice(SAYINGS)}\n"
        "For troubleshooting, visit: https://python.langchain.com/docs/troubleshooting/errors/OUTPUT_PARSING_FAILURE"
    ),
    "langgraph recursion": lambda r: (
        f"langgraph.errors.GraphRecursionError: Recursion limit of {n(r, 5, 99)} reached without hitting a stop "
        "condition. You can increase the limit by setting the `recursion_limit` config key."
    ),
    "langchain missing variable": lambda r: (
        f"KeyError: \"Input to ChatPromptTemplate is missing variables {{'{r.choice(FIELDS)}'}}.  Expected: "
        f"['{r.choice(FIELDS)}', 'question'] Received: ['question']\""
    ),
    "httpx connect timeout": lambda r: "httpx.ConnectTimeout: timed out",
    "httpx read timeout": lambda r: "httpx.ReadTimeout: The read operation timed out",
    "httpx refused": lambda r: "httpx.ConnectError: [Errno 111] Connection refused",
    "httpx name": lambda r: "httpx.ConnectError: [Errno -2] Name or service not known",
    "httpx 429": lambda r: (
        f"httpx.HTTPStatusError: Client error '429 Too Many Requests' for url 'https://{r.choice(HOSTS)}/v1/{word(r)}'\n"
        "For more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/429"
    ),
    "httpx 404": lambda r: (
        f"httpx.HTTPStatusError: Client error '404 Not Found' for url 'https://{r.choice(HOSTS)}/v2/{n(r)}'\n"
        "For more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/404"
    ),
    "httpx 503": lambda r: (
        f"httpx.HTTPStatusError: Server error '503 Service Unavailable' for url 'http://{r.choice(HOSTS)}:{n(r)}/embed'"
    ),
    "httpx broken body": lambda r: (
        f"httpx.RemoteProtocolError: peer closed connection without sending complete message body (received {n(r)} bytes, "
        f"expected {n(r)})"
    ),
    "asyncio cancelled by timeout": lambda r: trace(
        r, [("/srv/app/agent.py", "answer"), (f"{LIB}/asyncio/timeouts.py", "__aexit__")], "TimeoutError"
    ),
    "asyncio queue": lambda r: "asyncio.QueueFull",
    "asyncio loop": lambda r: "RuntimeError: This event loop is already running",
    "asyncio task": lambda r: (
        f"RuntimeError: Task <Task pending name='Task-{n(r)}' coro=<answer() running at /srv/app/agent.py:{n(r, 1, 900)}>> "
        f"got Future <Future pending> attached to a different loop"
    ),
    "pydantic": lambda r: (
        f"pydantic_core._pydantic_core.ValidationError: {n(r, 1, 4)} validation errors for {r.choice(SCHEMAS)}\n"
        f"{r.choice(FIELDS)}\n  Input should be a valid number, unable to parse string as a number "
        f"[type=float_parsing, input_value='{word(r)}', input_type=str]\n"
        "    For further information visit https://errors.pydantic.dev/2.9/v/float_parsing"
    ),
    "psycopg unique": lambda r: (
        f'psycopg.errors.UniqueViolation: duplicate key value violates unique constraint "{word(r)}_key"\n'
        f"DETAIL:  Key (id)=({uid(r)}) already exists."
    ),
    "psycopg relation": lambda r: (
        f'psycopg.errors.UndefinedTable: relation "{word(r)}" does not exist\nLINE 1: SELECT * FROM {word(r)}\n  ^'
    ),
    "psycopg timeout": lambda r: "psycopg.errors.QueryCanceled: canceling statement due to statement timeout",
    "psycopg deadlock": lambda r: (
        f"psycopg.errors.DeadlockDetected: deadlock detected\nDETAIL:  Process {n(r)} waits for ShareLock on "
        f"transaction {n(r)}; blocked by process {n(r)}."
    ),
    "sqlite locked": lambda r: "sqlite3.OperationalError: database is locked",
    "sqlite syntax": lambda r: f'sqlite3.OperationalError: near "{word(r, 5)}": syntax error',
    "sqlite table": lambda r: f"sqlite3.OperationalError: no such table: {r.choice(FIELDS)}",
    "json value": lambda r: (
        f"json.decoder.JSONDecodeError: Expecting value: line {n(r, 1, 40)} column {n(r, 1, 90)} (char {n(r)})"
    ),
    "json delimiter": lambda r: (
        f"json.decoder.JSONDecodeError: Expecting ',' delimiter: line {n(r, 1, 40)} column {n(r, 1, 90)} (char {n(r)})"
    ),
    "json string": lambda r: (
        f"json.decoder.JSONDecodeError: Unterminated string starting at: line {n(r, 1, 40)} column {n(r, 1, 90)} "
        f"(char {n(r)})"
    ),
    "json extra": lambda r: (
        f"json.decoder.JSONDecodeError: Extra data: line {n(r, 1, 40)} column {n(r, 1, 90)} (char {n(r)})"
    ),
    "tool failed": lambda r: (
        f"ToolException: Tool {r.choice(TOOLS)} failed after {n(r, 1, 5)} attempts: no result for query='{word(r)}'"
    ),
    "tool arguments": lambda r: (
        f"TypeError: {r.choice(TOOLS)}() got an unexpected keyword argument '{r.choice(FIELDS)}'"
    ),
    "tool unknown": lambda r: (
        f"ValueError: {r.choice(TOOLS)} is not a valid tool, try one of [{', '.join(r.sample(TOOLS, 3))}]."
    ),
    "own frames, any message": lambda r: trace(
        r,
        [("/srv/app/api.py", "handle"), ("/srv/app/retriever.py", "search"), (f"{LIB}/faiss/index.py", "query")],
        f"ValueError: no passage for {word(r)} in index {n(r)}",
    ),
    "own frames, the other place": lambda r: trace(
        r,
        [("/srv/app/api.py", "handle"), ("/srv/app/calculator.py", "ratio")],
        r.choice(["ValueError: division by zero", f"ValueError: cannot divide {n(r)} by nothing"]),
    ),
    "repr with a traceback": lambda r: (
        f"ProviderTimeout('no answer within {n(r)} ms')"
        + trace(r, [("/app/provider.py", "call")], f"ProviderTimeout: no answer within {n(r)} ms")
    ),
    "attribute of nothing": lambda r: "AttributeError: 'NoneType' object has no attribute 'content'",
}
"""Templates that masks and rules were made with."""

HELD: dict[str, Maker] = {
    "anthropic overloaded": lambda r: (
        "anthropic.InternalServerError: Error code: 529 - {'type': 'error', 'error': {'type': 'overloaded_error', "
        f"'message': 'Overloaded'}}, 'request_id': 'req_{word(r, 24)}'}}"
    ),
    "anthropic prompt too long": lambda r: (
        "anthropic.BadRequestError: Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error', "
        f"'message': 'prompt is too long: {n(r)} tokens > 200000 maximum'}}}}"
    ),
    "anthropic credit": lambda r: (
        "anthropic.BadRequestError: Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error', "
        f"'message': 'Your credit balance is too low to access the API.'}}, 'request_id': 'req_{word(r, 24)}'}}"
    ),
    "content filter": lambda r: (
        "openai.BadRequestError: Error code: 400 - {'error': {'message': \"The response was filtered due to the prompt "
        "triggering the content management policy. Please modify your prompt and retry.\", 'type': None, 'param': "
        f"'prompt', 'code': 'content_filter', 'status': 400, 'innererror': {{'code': '{word(r)}'}}}}}}"
    ),
    "requests per day": lambda r: (
        f"openai.RateLimitError: Error code: 429 - {{'error': {{'message': 'Rate limit reached for {r.choice(MODELS)} in "
        f"organization org-{word(r)} on requests per day (RPD): Limit {n(r)}, Used {n(r)}, Requested 1. Please try again "
        f"in {n(r, 1, 9)}m{n(r, 1, 59)}.{n(r)}s. Visit https://platform.openai.com/account/rate-limits to learn more.', "
        "'type': 'requests', 'param': None, 'code': 'rate_limit_exceeded'}}"
    ),
    "bedrock throttled": lambda r: (
        "botocore.errorfactory.ThrottlingException: An error occurred (ThrottlingException) when calling the "
        "InvokeModel operation (reached max retries: 4): Too many tokens, please wait before trying again."
    ),
    "vertex exhausted": lambda r: (
        f"google.api_core.exceptions.ResourceExhausted: 429 Quota exceeded for aiplatform.googleapis.com/generate_content "
        f"with base model: {r.choice(MODELS)}. Please submit a quota increase request."
    ),
    "ollama missing": lambda r: (
        f'ollama._types.ResponseError: model "{r.choice(MODELS)}" not found, try pulling it first (status code: 404)'
    ),
    "retries used up": lambda r: (
        f"tenacity.RetryError: RetryError[<Future at 0x{r.getrandbits(44):x} state=finished raised APIConnectionError>]"
    ),
    "aiohttp connector": lambda r: (
        f"aiohttp.client_exceptions.ClientConnectorError: Cannot connect to host {r.choice(HOSTS)}:{n(r)} ssl:default "
        "[Connect call failed ('10.0.0.7', 443)]"
    ),
    "requests pool": lambda r: (
        f"requests.exceptions.ConnectionError: HTTPSConnectionPool(host='{r.choice(HOSTS)}', port={n(r)}): Max retries "
        f"exceeded with url: /v1/{word(r)} (Caused by NewConnectionError('<conn 0x{r.getrandbits(40):x}>: Failed'))"
    ),
    "certificate": lambda r: (
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has "
        f"expired (_ssl.c:{n(r)})"
    ),
    "vector store dimension": lambda r: (
        f"ValueError: Embedding dimension {n(r)} does not match collection dimensionality {n(r)}"
    ),
    "qdrant collection": lambda r: (
        "qdrant_client.http.exceptions.UnexpectedResponse: Unexpected Response: 404 (Not Found)\n"
        f'Raw response content:\nb\'{{"status":{{"error":"Not found: Collection `{word(r)}` doesn\\\'t exist!"}}}}\''
    ),
    "redis down": lambda r: (
        f"redis.exceptions.ConnectionError: Error 111 connecting to {r.choice(HOSTS)}:{n(r)}. Connection refused."
    ),
    "redis memory": lambda r: "redis.exceptions.OutOfMemoryError: command not allowed when used memory > 'maxmemory'.",
    "alchemy pool": lambda r: (
        f"sqlalchemy.exc.TimeoutError: QueuePool limit of size {n(r, 1, 50)} overflow {n(r, 1, 50)} reached, connection "
        f"timed out, timeout {n(r, 1, 60)}.00 (Background on this error at: https://sqlalche.me/e/20/3o7r)"
    ),
    "alchemy column": lambda r: (
        f'sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedColumn) column "{word(r)}" does not exist\n'
        f"LINE 1: SELECT {word(r)} FROM runs\n[SQL: SELECT {word(r)} FROM runs]"
    ),
    "mysql gone": lambda r: 'pymysql.err.OperationalError: (2006, "MySQL server has gone away (BrokenPipeError(32))")',
    "no JSON in the answer": lambda r: f"AnswerError: the model's answer holds no JSON object: {r.choice(SAYINGS)}",
    "schema mismatch": lambda r: (
        f"jsonschema.exceptions.ValidationError: '{r.choice(FIELDS)}' is a required property\n\nFailed validating "
        f"'required' in schema:\n    {{'type': 'object'}}\n\nOn instance:\n    {{'{word(r)}': {n(r)}}}"
    ),
    "tool refused": lambda r: f"PermissionError: user {word(r)} may not call {r.choice(TOOLS)} on account {uid(r)}",
    "upstream status": lambda r: (
        f"UpstreamError: {r.choice(HOSTS)} answered after {n(r)} ms and {n(r, 1, 9)} retries [trace={uid(r)}]"
    ),
    "file missing": lambda r: (
        f"FileNotFoundError: [Errno 2] No such file or directory: '/var/lib/app/{word(r)}/{word(r)}.parquet'"
    ),
    "disk full": lambda r: f"OSError: [Errno 28] No space left on device: '/tmp/{word(r)}'",
    "unicode": lambda r: (
        f"UnicodeDecodeError: 'utf-8' codec can't decode byte 0x{r.getrandbits(7) + 128:x} in position {n(r)}: invalid "
        "start byte"
    ),
    "int parse": lambda r: f"ValueError: invalid literal for int() with base 10: '{r.choice(SAYINGS[:3])}'",
    "float parse": lambda r: f"ValueError: could not convert string to float: '{word(r)}'",
    "key": lambda r: f"KeyError: '{r.choice(FIELDS)}'",
    "index": lambda r: "IndexError: list index out of range",
    "date": lambda r: f"ValueError: time data '{n(r, 1, 12)}/{n(r, 1, 28)}' does not match format '%Y-%m-%d'",
    "cuda memory": lambda r: (
        f"torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate {n(r, 1, 90)}.{n(r, 10, 99)} GiB (GPU "
        f"{n(r, 0, 7)}; {n(r, 10, 80)}.00 GiB total capacity; {n(r, 10, 80)}.{n(r, 10, 99)} GiB already allocated)"
    ),
    "guardrail": lambda r: (
        f"GuardrailError: answer {uid(r)} of {r.choice(MODELS)} lacks the disclaimer (rule {n(r, 1, 40)}, score "
        f"0.{n(r)})"
    ),
    "budget": lambda r: f"BudgetExceeded: run {word(r, 12)} spent ${n(r, 1, 9)}.{n(r, 10, 99)} of ${n(r, 1, 9)}.00",
    "grpc": lambda r: (
        "grpc.aio._call.AioRpcError: <AioRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n"
        f'\tdetails = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.{n(r, 1, 254)}:50051"'
    ),
    "group of a task group": lambda r: (
        "  + Exception Group Traceback (most recent call last):\n"
        f'  |   File "/srv/app/fan_out.py", line {n(r, 1, 900)}, in gather_all\n  |     async with TaskGroup() as group:\n'
        f"  | ExceptionGroup: unhandled errors in a TaskGroup ({n(r, 1, 4)} sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n    | Traceback (most recent call last):\n"
        f'    |   File "/srv/app/fan_out.py", line {n(r, 1, 900)}, in ask_one\n    |     raise ConnectionError(host)\n'
        f"    | ConnectionError: {r.choice(HOSTS)}\n    +------------------------------------"
    ),
    "node stack": lambda r: (
        f"TypeError: Cannot read properties of undefined (reading '{r.choice(FIELDS)}')\n"
        f"    at parseAnswer (/srv/app/src/answer.ts:{n(r, 1, 400)}:{n(r, 1, 90)})\n"
        f"    at async run (/srv/app/src/agent.ts:{n(r, 1, 400)}:{n(r, 1, 90)})\n"
        f"    at async /srv/app/node_modules/langchain/dist/base.js:{n(r, 1, 400)}:{n(r, 1, 90)}"
    ),
    "chained": lambda r: (
        trace(r, [("/srv/app/db.py", "load")], f"KeyError: '{word(r)}'")
        + "\n\nDuring handling of the above exception, another exception occurred:\n\n"
        + trace(r, [("/srv/app/api.py", "handle"), ("/srv/app/db.py", "company")], f"LookupError: no {word(r)} here")
    ),
    "plain text": lambda r: f"worker {n(r)} lost its lease on job {uid(r)} after {n(r)} s",
    "plain text of another kind": lambda r: f"circuit breaker for {r.choice(MODELS)} is open for {n(r)} more seconds",
}
"""Templates that nobody looked at while the rules were made."""


def corpus(templates: dict[str, Maker], *, each: int, seed: int) -> tuple[list[str], list[str]]:
    """Return (errors, names of their templates), shuffled."""
    r = random.Random(seed)
    rows = [(make(r), name) for name, make in templates.items() for _ in range(r.randint(max(each // 2, 1), each * 2))]
    r.shuffle(rows)
    return [text for text, _ in rows], [name for _, name in rows]


def accuracy(members: list[list[int]], names: list[str]) -> float:
    """Return the share of errors whose group is exactly their template's group (grouping accuracy of log parsing)."""
    truth: dict[str, set[int]] = {}
    for place, name in enumerate(names):
        truth.setdefault(name, set()).add(place)
    return sum(len(group) for group in members if set(group) == truth[names[group[0]]]) / len(names)
