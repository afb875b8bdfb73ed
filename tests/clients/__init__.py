"""Real client libraries, unchanged, against a real daemon with the bundled model.

The libraries are in an environment of their own: `requirements/clients.in` lists them, `scripts/lock` pins them in
`clients.txt`, and the first test that needs the environment makes it, in ~/.cache/edgeinfer. So a test has two halves:

- `programs/NAME.py` runs there. It imports the library; each of its functions takes the daemon's address, then what the
  test gives it, does one thing with the library, and returns what JSON can hold. An exception fails the test.
- `test_NAME.py` runs here. It asks for a program with the fixture `program`, and checks what the functions return:

      @pytest.fixture(scope="module")
      def ollama(program: StartProgram) -> ClientProgram:
          return program("ollama_sdk")

      def test_a_stream_says_what_the_whole_answer_says(ollama: ClientProgram) -> None:
          assert "".join(ollama.call("stream", "Hi")) == ollama.call("chat", "Hi")

To add a library, add a line to `requirements/clients.in` and run `scripts/lock NAME`. A library that tests elsewhere
import too, such as openai, is in the `dev` extra of pyproject.toml as well.
"""
