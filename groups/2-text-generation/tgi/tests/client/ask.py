"""Ask what speaks TGI's protocol through TGI's own client; print what the client made of it."""

import json
import sys

from text_generation import Client
from text_generation.errors import OverloadedError
from text_generation.types import Message

client = Client(sys.argv[1])
whole = client.generate("What is deep learning?", max_new_tokens=10)
stream = list(client.generate_stream("What is deep learning?", max_new_tokens=10))
chat = client.chat([Message(role="user", content="Say 'OK!'")], max_tokens=10, temperature=0)
try:
    client.generate("overload", max_new_tokens=10)
    refused = None
except OverloadedError as error:
    refused = str(error)
said = {
    "text": whole.generated_text,
    "ids": [token.id for token in whole.details.tokens],
    "stream_ids": [event.token.id for event in stream],
    "stream_text": stream[-1].generated_text,
    "generated": stream[-1].details.generated_tokens,
    "chat": chat.choices[0].message.content,
    "refused": refused,
}
print(json.dumps(said))
