# Completion of edgeinfer for fish; written by: edgeinfer completion fish

function __edgeinfer_complete
    set -l words (commandline -opc)
    set -l found (env _EDGEINFER_COMPLETION=words $words (commandline -ct) 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $found
    end
end

complete --command edgeinfer --no-files --arguments '(__edgeinfer_complete)'
