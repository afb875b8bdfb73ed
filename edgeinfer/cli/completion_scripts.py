"""What shells need to complete `edgeinfer`: a script for each, and where it belongs.

A script asks `edgeinfer` itself, with the words so far and the variable below. Each line of the reply is a word, a tab
and what it means; the line FILES alone stands for the names of files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.user_folders import home

VARIABLE = "_EDGEINFER_COMPLETION"
FILES = ":files"

BASH = f"""\
# Completion of edgeinfer for bash; written by: edgeinfer completion bash

_edgeinfer() {{
    local word meaning typed cut=
    local line=${{COMP_LINE:0:COMP_POINT}}
    COMPREPLY=()
    while IFS=$'\\t' read -r word meaning; do
        if [ "$word" = {FILES} ]; then
            compopt -o default 2>/dev/null # unknown to bash 3 of Macs
            return
        fi
        # Bash takes a colon and an equals sign for the beginning of another word.
        typed=${{line##* }}
        case $COMP_WORDBREAKS in *:*) [[ $typed == *:* ]] && cut=${{typed%"${{typed##*:}}"}} ;; esac
        [[ $typed == --*=* && $word == --*=* ]] && cut=${{typed%%=*}}=
        COMPREPLY+=("${{word#"$cut"}}")
    done < <({VARIABLE}=line "$1" "$line" 2>/dev/null)
}}

complete -F _edgeinfer edgeinfer
"""

ZSH = f"""\
#compdef edgeinfer
# Completion of edgeinfer for zsh; written by: edgeinfer completion zsh

_edgeinfer() {{
    local -a found
    local word meaning
    while IFS=$'\\t' read -r word meaning; do
        if [[ $word == {FILES} ]]; then
            _files
            return
        fi
        found+=("${{word//:/\\\\:}}:$meaning")
    done < <({VARIABLE}=words "${{(Q)words[1]}}" "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)
    _describe edgeinfer found
}}

if [ "$funcstack[1]" = _edgeinfer ]; then
    _edgeinfer "$@"
else
    compdef _edgeinfer edgeinfer
fi
"""

FISH = f"""\
# Completion of edgeinfer for fish; written by: edgeinfer completion fish

function __edgeinfer_complete
    set -l words (commandline -opc)
    set -l found (env {VARIABLE}=words $words (commandline -ct) 2>/dev/null)
    if test "$found" = {FILES}
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end

complete --command edgeinfer --no-files --arguments '(__edgeinfer_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def user_file(shell: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a user's own script of a shell belongs; bash-completion and fish find it there by themselves."""
    data = _folder(environ, "XDG_DATA_HOME", ".local/share")
    return {
        "bash": data / "bash-completion/completions/edgeinfer",
        "zsh": data / "zsh/site-functions/_edgeinfer",
        "fish": _folder(environ, "XDG_CONFIG_HOME", ".config") / "fish/completions/edgeinfer.fish",
    }[shell]


def _folder(environ: Mapping[str, str], variable: str, default: str) -> Path:
    path = Path(environ.get(variable) or ".")
    return path if path.is_absolute() else home(environ) / default
