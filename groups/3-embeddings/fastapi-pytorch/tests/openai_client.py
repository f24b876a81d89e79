"""What somebody's program does with OpenAI's own client, as it comes: base URL in, facts out.

Run by test_server.py in an environment that holds that client and nothing of ours.
"""

import json
import sys

import openai

base_url, texts = sys.argv[1], json.loads(sys.argv[2])
client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
answer = client.embeddings.create(model="minilm", input=texts)
floats = client.embeddings.create(model="minilm", input=texts[0], encoding_format="float")
few = client.embeddings.create(model="minilm", input=texts[0], dimensions=16)


def refused(**asked: str) -> tuple[str, str]:
    """The client's own exception and the server's sentence."""
    try:
        client.embeddings.create(**asked)
    except openai.APIStatusError as error:
        return type(error).__name__, str(error.body["message"])
    raise SystemExit(f"{asked} was answered")


print(
    json.dumps(
        {
            "vectors": [each.embedding for each in answer.data],
            "floats": floats.data[0].embedding,
            "few": len(few.data[0].embedding),
            "tokens": answer.usage.total_tokens,
            "models": [model.id for model in client.models.list()],
            "unknown model": refused(model="text-embedding-3-small", input="rain"),
            "empty": refused(model="minilm", input=""),
        }
    )
)
